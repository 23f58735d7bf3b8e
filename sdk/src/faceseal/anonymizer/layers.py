"""All faces of a photo, exchanged in layers, each tested by restoring it at once.

A face comes one layer above all earlier faces whose squares meet its own.  Sealing goes up
the layers and restoring down, so that each face finds the surroundings that it had; the
faces of one layer share a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer.attempts import Demands, best_attempts, decibel
from faceseal.anonymizer.drawing import face_at, square_of
from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import FaceRecord
from faceseal.imagekey import ImageKey

if TYPE_CHECKING:
    from faceseal.exchange import Exchange


def layers(faces: Sequence[FaceRecord]) -> list[list[int]]:
    """Indices of faces by layer; no two squares of one layer meet."""
    level: list[int] = []
    for index, face in enumerate(faces):
        below = [level[other] for other in range(index) if _meet(face, faces[other])]
        level.append(max(below, default=-1) + 1)
    return [[i for i, value in enumerate(level) if value == current] for current in range(max(level, default=-1) + 1)]


def _meet(one: FaceRecord, other: FaceRecord) -> bool:
    return (
        one.x < other.x + other.side
        and other.x < one.x + one.side
        and one.y < other.y + other.side
        and other.y < one.y + one.side
    )


def masked_pixels(face: FaceRecord, pixels: Pixels) -> NDArray[np.bool_]:
    """The photo's pixels (H, W) that the record's mask covers."""
    return square_of(face).masked_pixels(face.mask, pixels.shape[1], pixels.shape[0])


def seal_faces(
    original: Pixels, records: Sequence[FaceRecord], exchange: Exchange, key: ImageKey, demands: Demands
) -> tuple[Pixels, list[FaceRecord], list[int]]:
    """The anonymized photo, the records with the nonces and fidelities that were reached, and how often each was drawn.

    Raises FidelityTooLow or FaceTooAlike if a face misses what is asked for with every nonce tried.
    """
    pixels, restored, done, attempts = original, original, list(records), [0] * len(records)
    order = layers(records)
    for layer in order:
        for index, attempt in best_attempts(pixels, {i: done[i] for i in layer}, exchange, key, demands).items():
            done[index], attempts[index] = attempt.record, attempt.rounds
            square = square_of(attempt.record)
            pixels = square.paste(pixels, attempt.square, attempt.record.mask)
            restored = square.paste(restored, attempt.restored, attempt.record.mask)
    if len(order) > 1:
        # Each layer was tested on exact surroundings; restoring will find inexact ones.
        restored = restore_faces(pixels, done, exchange, key)
    for index, record in enumerate(done):
        before, after = face_at(original, record, key), face_at(restored, record, key)
        inside = before.masked_pixels
        demands.check_fidelity(decibel(exchange.carried(before)[inside], after.square[inside]))
        done[index] = replace(record, fidelity=int(decibel(before.square[inside], after.square[inside])))
    return pixels, done, attempts


def restore_faces(
    pixels: Pixels, records: Sequence[FaceRecord], exchange: Exchange, key: ImageKey, *, recoded: bool = False
) -> Pixels:
    """The photo restored from the anonymized pixels alone; recoded: they are not those that were sealed."""
    for layer in reversed(layers(records)):
        squares = exchange.restore([face_at(pixels, records[i], key, recoded=recoded) for i in layer])
        for index, square in zip(layer, squares, strict=True):
            pixels = square_of(records[index]).paste(pixels, square, records[index].mask)
    return pixels
