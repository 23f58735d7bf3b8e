"""All faces of a photo, exchanged in layers and each tested by restoring it; and all restored at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from faceseal.anonymizer.attempts import Demands, best_attempts, decibel
from faceseal.anonymizer.placing import face_at, layers, place_face, square_of
from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import FaceRecord
from faceseal.imagekey import ImageKey

if TYPE_CHECKING:
    from faceseal.exchange import Exchange


def seal_faces(
    original: Pixels, records: Sequence[FaceRecord], exchange: Exchange, key: ImageKey, demands: Demands
) -> tuple[Pixels, list[FaceRecord], list[int]]:
    """The anonymized photo, the records with the nonces and fidelities that were reached, and how often each was drawn.

    No two masks of the records share a pixel; see `faceseal.faces.neighbours`.
    Raises FidelityTooLow or FaceTooAlike if a face misses what is asked for with every nonce tried.
    """
    pixels, done, attempts = original, list(records), [0] * len(records)
    for layer in layers(records):
        placed = {index: place_face(pixels, records, index, key) for index in layer}
        for index, attempt in best_attempts(placed, exchange, key, demands).items():
            inside = placed[index].face.masked_pixels
            fidelity = decibel(placed[index].face.square[inside], attempt.restored[inside])
            done[index], attempts[index] = replace(attempt.record, fidelity=int(fidelity)), attempt.rounds
            pixels = square_of(attempt.record).paste(pixels, attempt.square, attempt.record.mask)
    return pixels, done, attempts


def restore_faces(
    pixels: Pixels, records: Sequence[FaceRecord], exchange: Exchange, key: ImageKey, *, recoded: bool = False
) -> Pixels:
    """The photo restored from the anonymized pixels alone; recoded: they are not those that were sealed."""
    faces = [face_at(pixels, records, index, key, recoded=recoded) for index in range(len(records))]
    for record, square in zip(records, exchange.restore(faces), strict=True):
        pixels = square_of(record).paste(pixels, square, record.mask)
    return pixels
