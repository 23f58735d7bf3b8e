"""One photo through the whole product: sealed to a file, read back, restored in all ways."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np

from faceseal.anonymizer import anonymize, read_sealed, restore_with_key
from faceseal.anonymizer.attempts import Demands
from faceseal.anonymizer.generator import default_model, exchange_of
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.sealed import SealedContent
from faceseal.envelope.header import FaceRecord, authenticate_header, pixel_digest
from faceseal.errors import UnknownKey, WrongKey
from faceseal.evaluation.baseline import try_baseline
from faceseal.evaluation.copies import anonymize_with, restore_copies
from faceseal.evaluation.versions import CODED, Part, Pixels, Version, coded
from faceseal.faces.detector import DetectedFace
from faceseal.imagekey import IMAGE_KEY_BYTES, ImageKey
from faceseal.model import Model
from faceseal.photo import Photo
from faceseal.profiles import Profile

OTHER_KEYS = 9
"""Further keys for the photo's main face."""


@dataclass
class MemoryKeys:
    """Keys that live as long as the measurement."""

    held: dict[UUID, ImageKey] = field(default_factory=dict)

    def create(self) -> ImageKey:
        """A new key."""
        key = new_key()
        self.held[key.key_id] = key
        return key

    def bind(self, key_id: UUID, sealed_digest: bytes, perceptual_hash: bytes | None = None) -> None:
        """Nothing to remember."""

    def release(self, key_id: UUID, grant: str | None) -> ImageKey:  # noqa: ARG002
        """The key; needs no grant.  Raises UnknownKey."""
        if key_id not in self.held:
            raise UnknownKey(f"no key {key_id}")
        return self.held[key_id]


def new_key() -> ImageKey:
    """A random key."""
    return ImageKey(uuid4(), os.urandom(IMAGE_KEY_BYTES))


def flipped(key: ImageKey, bit: int) -> ImageKey:
    """The key with one of its 256 bits changed."""
    secret = int.from_bytes(key.secret, "big") ^ (1 << bit)
    return ImageKey(key.key_id, secret.to_bytes(IMAGE_KEY_BYTES, "big"))


@dataclass(frozen=True, eq=False)
class Trial:
    """A photo and what came of it; all pictures are whole photos (H, W, 3).

    record: of the photo's main face; other_keys: that face under further keys; exact: the
    capsule brought every pixel back; refused: the key commitment refused the wrong and the
    flipped key; seconds: to anonymize the photo with all its `faces`; attempts: rounds
    of nonces that the main face took.
    """

    original: Pixels
    record: FaceRecord
    versions: Mapping[Version, Pixels]
    other_keys: Sequence[Pixels]
    exact: bool
    refused: bool
    seconds: float
    attempts: int
    faces: int


def try_photo(
    photo: Photo,
    face: DetectedFace,
    profile: Profile,
    model: Model | None,
    guard: IdentityGuard | None,
    without: Collection[Part],
    path: Path,
    random: np.random.Generator,
) -> Trial:
    """Seal a photo whose main face is `face` to the PNG file `path`, read it back, and restore it.

    random: which bit of the key is flipped.  Raises what `anonymize` raises.
    """
    keys = MemoryKeys()
    started = time.perf_counter()
    sealed = anonymize(photo, keys=keys, profile=profile, model=model, guard=guard)
    sealed.save(path)
    seconds = time.perf_counter() - started
    content = read_sealed(path.read_bytes())
    key = keys.release(content.header.key_id, None)
    bad = {Version.WRONG_KEY: new_key(), Version.FLIPPED_BIT: flipped(key, int(random.integers(256)))}
    copies = {Version.RESTORED: (content, key)} | {version: (content, other) for version, other in bad.items()}
    if Part.ROBUSTNESS not in without:
        header = content.header_bytes
        copies |= {v: (read_sealed(coded(content.pixels, v), header=header), key) for v in CODED}
    exact = restore_with_key(content, key)
    record = _record_of(face, content.header.faces)
    restored = restore_copies([c for c, _ in copies.values()], [k for _, k in copies.values()], model)
    baseline: dict[Version, Pixels] = {}
    if Part.BASELINE not in without:
        baseline = try_baseline(photo.pixels, record, key, bad[Version.WRONG_KEY], model or default_model())
    others: list[Pixels] = []
    if Part.KEYS not in without:
        exchange = exchange_of(content.header, model)
        others = anonymize_with(new_key, OTHER_KEYS, photo.pixels, record, exchange, Demands(profile, guard))
    return Trial(
        original=photo.pixels,
        record=record,
        versions={Version.ANONYMIZED: content.pixels, **dict(zip(copies, restored, strict=True)), **baseline},
        other_keys=others,
        exact=exact.exact and pixel_digest(exact.pixels) == pixel_digest(photo.pixels),
        refused=all(_refuses(content, other) for other in bad.values()),
        seconds=seconds,
        attempts=sealed.attempts[content.header.faces.index(record)],
        faces=len(content.header.faces),
    )


def _refuses(content: SealedContent, key: ImageKey) -> bool:
    try:
        authenticate_header(content.header_bytes, content.header, key)
    except WrongKey:
        return True
    return False


def _record_of(face: DetectedFace, records: Sequence[FaceRecord]) -> FaceRecord:
    """The record whose square's centre is nearest to the face's."""
    centre = face.landmarks.mean(axis=0)
    return min(records, key=lambda r: float(np.linalg.norm(np.array([r.x, r.y]) + r.side / 2 - centre)))
