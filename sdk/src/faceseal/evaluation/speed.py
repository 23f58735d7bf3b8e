"""How long anonymizing takes when nothing else is computed: one photo after the other, on all cores."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from faceseal.anonymizer import anonymize
from faceseal.errors import FidelityTooLow, NoFaceFound, PhotoError
from faceseal.evaluation.trial import MemoryKeys
from faceseal.model import Model
from faceseal.photo import Photo, write_atomically
from faceseal.profiles import Profile

PHOTOS = 10
"""Timed, after one that warms up."""


@dataclass(frozen=True)
class Speed:
    """Seconds per face of each photo that was sealed, and the threads that were used."""

    seconds: tuple[float, ...]
    threads: int

    @property
    def median(self) -> float:
        """Seconds per face; NaN of none."""
        return float(np.median(self.seconds)) if self.seconds else float("nan")


def time_sealing(photos: Iterable[Photo], profile: Profile, model: Model | None) -> Speed:
    """The first photo is not counted; photos that cannot be sealed are left out."""
    import torch

    seconds: list[float] = []
    for photo in photos:
        started = time.perf_counter()
        try:
            sealed = anonymize(photo, keys=MemoryKeys(), profile=profile, model=model)
        except (NoFaceFound, FidelityTooLow, PhotoError):
            continue
        seconds.append((time.perf_counter() - started) / len(sealed.header.faces))
    return Speed(tuple(seconds[1:]), torch.get_num_threads())


def kept_speed(file: Path) -> Speed | None:
    """What an earlier run measured, if it did."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Speed(tuple(float(value) for value in content["seconds"]), int(content["threads"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_speed(speed: Speed, file: Path) -> None:
    """For `kept_speed`.  Raises PhotoError if the file cannot be written."""
    write_atomically(file, json.dumps(asdict(speed)).encode())
