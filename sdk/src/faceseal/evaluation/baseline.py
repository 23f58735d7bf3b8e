"""The published process (`faceseal.published`) on a photo's main face, in 8-bit pixels like ours."""

from __future__ import annotations

from dataclasses import replace

from faceseal import published
from faceseal.anonymizer.placing import face_at, square_of
from faceseal.envelope.header import FaceRecord
from faceseal.evaluation.versions import Pixels, Version
from faceseal.imagekey import ImageKey
from faceseal.model import Model


def try_baseline(
    original: Pixels, record: FaceRecord, key: ImageKey, wrong: ImageKey, model: Model
) -> dict[Version, Pixels]:
    """Photos (H, W, 3) with the face anonymized, restored from those 8-bit pixels, and restored with a wrong key."""
    face = face_at(original, [record], 0, key)
    (made,) = published.anonymize(model, [face])
    sealed = replace(face, square=made)
    other = replace(face_at(original, [record], 0, wrong), square=made)
    restored, refused = published.restore(model, [sealed, other])
    squares = {
        Version.BASELINE_ANONYMIZED: made,
        Version.BASELINE_RESTORED: restored,
        Version.BASELINE_WRONG_KEY: refused,
    }
    square = square_of(record)
    return {version: square.paste(original, pixels, record.mask) for version, pixels in squares.items()}
