"""All people measured, by several processes, one result file each, so that a second run goes on."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from faceseal.anonymizer.generator import open_model
from faceseal.errors import PhotoError
from faceseal.evaluation.measure import Instruments, measure
from faceseal.evaluation.pairs import Pair, count_pairs, read_pairs
from faceseal.evaluation.person import Person, from_bytes, to_bytes
from faceseal.evaluation.recognition import DlibSource, OnnxSource, RecognizerSource, guard_with
from faceseal.evaluation.versions import Part
from faceseal.faces.mesh import FaceMesh
from faceseal.model import Model
from faceseal.photo import write_atomically
from faceseal.profiles import Profile
from faceseal.weights import PACKAGED

FORMAT = 2
"""Of the result files; a change of what is measured raises it."""
PICTURE_MAKERS = (
    "anonymizer",
    "carrier.py",
    "faces",
    "exchange.py",
    "guidance.py",
    "imagekey.py",
    "keyed.py",
    "latent.py",
    "model.py",
    "ode.py",
    "perturbed_attention.py",
    "pretrained",
    "published.py",
)
"""Sources of this package that results depend on."""


@dataclass(frozen=True)
class Settings:
    """What results depend on.

    model: see `open_model`, None for the packaged one; most_alike: cosine of the first network
    above which a face is made again, None to take it as it comes; device: where the model computes.
    """

    pairs: Path
    profile: Profile
    model: Path | None
    recognizers: tuple[RecognizerSource, ...]
    without: frozenset[Part] = frozenset()
    most_alike: float | None = None
    device: str = "cpu"

    def opened(self) -> Model:
        """The model.  Raises ModelError or MissingDependency."""
        return _open(self.model, self.device)

    def digest(self) -> str:
        """Twelve hexadecimal digits that change with anything that results depend on.

        Raises PhotoError, ModelError or MissingDependency if a file is missing.
        """
        try:
            content = self.pairs.read_bytes()
        except OSError as cause:
            raise PhotoError(f"{self.pairs} cannot be read ({cause.strerror}); check the name") from cause
        parts = sorted(part.value for part in self.without & {Part.BASELINE, Part.ROBUSTNESS, Part.KEYS})
        networks = [f"{source.name} {source.digest()}" for source in self.recognizers]
        said = (
            FORMAT,
            hashlib.sha256(content).hexdigest(),
            self.profile,
            self.opened().digest.hex(),
            parts,
            self.most_alike,
            self.device,
        )
        return hashlib.sha256(repr((*said, networks, _code_digest())).encode()).hexdigest()[:12]


def standard_recognizers(onnx: Path) -> tuple[RecognizerSource, ...]:
    """The two independent networks that all figures are given for."""
    return OnnxSource(onnx), DlibSource()


@dataclass(frozen=True)
class Campaign:
    """People to measure.  folder: where the result files are; shown: people on the contact sheet."""

    settings: Settings
    folder: Path
    limit: int | None = None
    shown: int = 24
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    @classmethod
    def under(
        cls, output: Path, settings: Settings, *, limit: int | None, shown: int, workers: int, fresh: bool
    ) -> Campaign:
        """A campaign that keeps its files under `output`; fresh: those of an earlier run with these settings go first.

        Raises PhotoError if the folder cannot be made or emptied, and as `Settings.digest`.
        """
        folder = output / f"people-{settings.digest()}"
        try:
            if fresh and folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise PhotoError(f"{folder} cannot be written ({cause.strerror}); check the name") from cause
        return cls(settings, folder, limit, shown, workers)

    def count(self) -> int:
        """People in all.  Raises PhotoError."""
        return count_pairs(self.settings.pairs, self.limit)

    def run(self) -> Iterator[Person]:
        """Each person in the order of the pairs, measured now or earlier.

        When interrupted, it lets the people under way finish and keeps them.  Each process
        computes on one thread, which for single faces is faster than one process on several.
        """
        count = self.count()
        shown = set(np.linspace(0, count - 1, min(self.shown, count)).round().astype(int).tolist())
        under_way: deque[Person | Future[Person]] = deque()
        with ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), _start_worker) as pool:
            try:
                for index, pair in enumerate(read_pairs(self.settings.pairs, self.limit)):
                    task = _Task(pair, index, self.settings, self.folder / f"{index:05}.npz", index in shown)
                    under_way.append(_kept(task) or pool.submit(_measure, task))
                    if len(under_way) > 2 * self.workers:
                        yield _awaited(under_way.popleft())
                while under_way:
                    yield _awaited(under_way.popleft())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@dataclass(frozen=True, eq=False)
class _Task:
    pair: Pair
    index: int
    settings: Settings
    file: Path
    panes: bool


def _start_worker() -> None:
    """One thread; the first process alone answers an interruption from the keyboard."""
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _awaited(person: Person | Future[Person]) -> Person:
    return person.result() if isinstance(person, Future) else person


def _kept(task: _Task) -> Person | None:
    """What an earlier run measured, if it serves; a damaged file does not."""
    try:
        person = from_bytes(task.file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return person if person.panes or person.about.sealed is None or not task.panes else None


def _measure(task: _Task) -> Person:
    settings, random = task.settings, np.random.default_rng(task.index)
    instruments = _instruments(settings)
    person = measure(task.pair, instruments, settings.profile, settings.without, random, panes=task.panes)
    write_atomically(task.file, to_bytes(person))
    return person


@cache
def _instruments(settings: Settings) -> Instruments:
    networks = {source.name: source.load() for source in settings.recognizers}
    guard = None
    if settings.most_alike is not None:
        first = settings.recognizers[0]
        guard = guard_with(networks[first.name], first.likeness, settings.most_alike)
    return Instruments(settings.opened(), networks, FaceMesh(), guard)


@cache
def _open(path: Path | None, device: str) -> Model:
    return open_model(path or PACKAGED, device)


def _code_digest() -> str:
    """SHA-256 of the sources that make the pictures: after a change to them, results are made anew."""
    root = Path(__file__).parents[1]
    files = [file for name in PICTURE_MAKERS for file in (root / name, *sorted((root / name).rglob("*.py")))]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
