"""Where the time goes: group photos of a public-domain portrait, sealed and restored from their pixels.

The clock waits for a GPU at the end of each part, so that whole times are upper bounds.

Run as: python speed.py [--device cuda] [--faces 1,8,64] [--profiles fast,default,best]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer import anonymize, drawing, restore, restoring, sealing
from faceseal.anonymizer.generator import open_model
from faceseal.cli.console import print_table
from faceseal.evaluation.trial import MemoryKeys
from faceseal.exchange import Exchange
from faceseal.model import FaceModel
from faceseal.photo import Photo
from faceseal.profiles import Profile, profile_named
from faceseal.weights import PACKAGED

PARTS = {
    "network": [(FaceModel, "velocity"), (FaceModel, "guided_velocity")],
    "finding faces": [(sealing, "_find_faces")],
    "keyed map": [(Exchange, "_map")],
    "latent to pixels": [(Exchange, "shown")],
    "pose and looks": [(drawing, "find_poses"), (drawing, "find_looks")],
    "files": [(sealing, "seal_originals"), (sealing, "encode_png"), (restoring, "read_sealed")],
}
"""What is timed, without what it calls of the others; the rest is "all else"."""
PORTRAIT = 224
"""Side of one portrait in the group photo, in pixels: its face square has 112."""


class Clock:
    """Seconds by part; a part's time stops while another part that it calls runs."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device, self._running, self._since = device, ["all else"], time.perf_counter()

    def _switch(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._switch()
        self._running.append(name)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*given, **named)

        return call


def group(faces: int) -> Photo:
    """As many portraits as asked for, up to eight in a row; a last row is filled with grey."""
    head = np.asarray(Image.fromarray(astronaut()[:256, 96:352]).resize((PORTRAIT, PORTRAIT)))
    columns = min(faces, 8)
    rows = -(-faces // columns)
    photo = np.full((rows * PORTRAIT, columns * PORTRAIT, 3), 128, np.uint8)
    for index in range(faces):
        y, x = divmod(index, columns)
        photo[y * PORTRAIT : (y + 1) * PORTRAIT, x * PORTRAIT : (x + 1) * PORTRAIT] = head
    return Photo(photo)


@contextmanager
def timed(device: torch.device) -> Iterator[Clock]:
    clock = Clock(device)
    with ExitStack() as stack:
        for name, functions in PARTS.items():
            for owner, function in functions:
                stack.enter_context(patch.object(owner, function, clock.timed(name, getattr(owner, function))))
        with clock.part("all else"):
            yield clock


def row(profile: Profile, what: str, faces: int, clock: Clock) -> tuple[str, ...]:
    total = sum(clock.seconds.values())
    shares = (f"{clock.seconds[part] / total:.0%}" for part in (*PARTS, "all else"))
    return profile.name, what, str(faces), f"{total / faces:.3f}", f"{faces / total:.2f}", *shares


def main(device: str, counts: Sequence[int], profiles: Sequence[Profile]) -> None:
    model, keys, rows = open_model(PACKAGED, device), MemoryKeys(), []
    for profile in profiles:
        anonymize(group(1), keys=keys, profile=profile, model=model)  # the first loads what is loaded once
        for count in counts:
            if model.device.type == "cuda":  # whose libraries choose their algorithms at the first batch of a size
                first = anonymize(group(count), keys=keys, profile=profile, model=model)
                restore(first, keys=keys, model=model, from_pixels=True)
            with timed(model.device) as sealing_it:
                sealed = anonymize(group(count), keys=keys, profile=profile, model=model)
            with timed(model.device) as restoring_it:
                restore(sealed, keys=keys, model=model, from_pixels=True)
            faces = len(sealed.header.faces)
            rows.append(row(profile, "anonymize", faces, sealing_it))
            rows.append(row(profile, "restore from pixels", faces, restoring_it))
    print_table(("profile", "", "faces", "s a face", "faces a s", *PARTS, "all else"), rows)
    print(f"{model.name} on {device}, threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--faces", default="1,8")
    parser.add_argument("--profiles", default="fast,default,best")
    given = parser.parse_args()
    counts = [int(count) for count in given.faces.split(",")]
    main(given.device, counts, [profile_named(name) for name in given.profiles.split(",")])
