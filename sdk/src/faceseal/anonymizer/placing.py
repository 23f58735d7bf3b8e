"""From a face's record in the header to what the generator works on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import PUBLIC_NONCE_BYTES, FaceRecord
from faceseal.faces.neighbours import squares_meet, touched_cells
from faceseal.faces.square import FaceSquare
from faceseal.imagekey import ImageKey

if TYPE_CHECKING:
    from faceseal.exchange import Face

VIEW_MARGIN = 4
"""Cells; recognition networks look at about a quarter more than the face square."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A face of a photo that is to be anonymized.

    record: what the header says of it; face: what the generator works on; view: the square with
    `VIEW_MARGIN` cells of the photo on all sides, ((16 + 2 * 4) * cell, the same, 3), which is
    what somebody would look at to recognize the face.
    """

    record: FaceRecord
    face: Face
    view: Pixels


def face_at(pixels: Pixels, records: Sequence[FaceRecord], index: int, key: ImageKey, *, recoded: bool = False) -> Face:
    """One of a photo's faces, with what the key makes of its nonce; recoded: see `Face`.

    The faces after it in `records` are hidden from it: they are exchanged later than it when
    the photo is sealed, so that only hidden do they look the same to sealing and restoring.
    The faces before it are anonymized both times.
    """
    from faceseal.exchange import Face

    record = records[index]
    square = square_of(record)
    height, width, _ = pixels.shape
    return Face(
        square=square.crop(pixels),
        mask=record.mask,
        inside=square.inside(width, height) & ~_hidden(square, records[index + 1 :]),
        landmarks=record.landmarks,
        stream_key=stream_key(key, record),
        public_seed=hashlib.sha256(b"faceseal/1 public noise" + record.nonce[:PUBLIC_NONCE_BYTES]).digest(),
        recoded=recoded,
    )


def place_face(pixels: Pixels, records: Sequence[FaceRecord], index: int, key: ImageKey) -> Placed:
    """One of a photo's faces, to be anonymized."""
    record = records[index]
    view = square_of(record).crop(pixels, VIEW_MARGIN * record.cell)
    return Placed(record, face_at(pixels, records, index, key), view)


def stream_key(key: ImageKey, record: FaceRecord) -> bytes:
    """What the keyed map of this face, with this nonce, draws from: 32 secret bytes."""
    return key.derive(b"faceseal/1 noise map", salt=record.nonce)


def square_of(record: FaceRecord) -> FaceSquare:
    """Where the record's face square lies."""
    return FaceSquare(record.x, record.y, record.cell)


def masked_pixels(record: FaceRecord, pixels: Pixels) -> NDArray[np.bool_]:
    """The photo's pixels (H, W) that the record's mask covers."""
    return square_of(record).masked_pixels(record.mask, pixels.shape[1], pixels.shape[0])


def layers(records: Sequence[FaceRecord]) -> list[list[int]]:
    """Indices of faces by layer: each one layer above all earlier faces whose squares meet its own.

    Sealing goes up the layers, for a face shall continue its neighbours as they will look.
    """
    level: list[int] = []
    for index, record in enumerate(records):
        square = square_of(record)
        below = [level[other] for other in range(index) if squares_meet(square, square_of(records[other]))]
        level.append(max(below, default=-1) + 1)
    return [[i for i, value in enumerate(level) if value == current] for current in range(max(level, default=-1) + 1)]


def _hidden(square: FaceSquare, later: Sequence[FaceRecord]) -> NDArray[np.bool_]:
    hidden = np.zeros_like(square.inside(0, 0))
    for record in later:
        hidden |= touched_cells(square, square_of(record), record.mask)
    return hidden
