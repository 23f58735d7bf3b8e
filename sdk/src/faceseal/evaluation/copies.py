"""Several copies of one sealed photo restored together, and one face under several keys.

The network works on batches: all copies share one, and copies with equal pixels share the
inversion too.  Nothing is checked; each copy comes back as `restore_with_key` with `force`
would bring it, but for the last bits of a float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from faceseal.anonymizer.attempts import Demands
from faceseal.anonymizer.drawing import draw_best, origins
from faceseal.anonymizer.generator import exchange_of
from faceseal.anonymizer.placing import face_at, place_face, square_of
from faceseal.anonymizer.restoring import grey
from faceseal.anonymizer.sealed import SealedContent
from faceseal.envelope.header import FaceRecord
from faceseal.evaluation.versions import Pixels
from faceseal.exchange import Exchange, Face
from faceseal.imagekey import ImageKey
from faceseal.model import Model


def restore_copies(
    contents: Sequence[SealedContent], keys: Sequence[ImageKey], model: Model | None = None
) -> list[Pixels]:
    """Photos (H, W, 3), each content's restored with its key from the pixels alone.

    The contents are copies of one sealed photo, with one header.  Raises ModelMismatch.
    """
    header = contents[0].header
    exchange = exchange_of(header, model)
    photos = [content.pixels for content in contents]
    records = header.faces
    faces = [
        face_at(content.pixels, records, index, key, recoded=not content.intact)
        for content, key in zip(contents, keys, strict=True)
        for index in range(len(records))
    ]
    squares = iter(_restore_faces(faces, exchange))
    for copy in range(len(photos)):
        for record in records:
            photos[copy] = square_of(record).paste(photos[copy], next(squares), record.mask)
    return [grey(photo) if header.grayscale else photo for photo in photos]


def _restore_faces(faces: Sequence[Face], exchange: Exchange) -> list[Pixels]:
    """Squares (S, S, 3); faces that differ in their key alone share an inversion."""
    first: dict[bytes, int] = {}
    for index, face in enumerate(faces):
        first.setdefault(face.public_seed + face.square.tobytes(), index)
    noise = exchange.anonymous_noise([faces[index] for index in first.values()])
    place = {content: row for row, content in enumerate(first)}
    rows = [place[face.public_seed + face.square.tobytes()] for face in faces]
    return exchange.generate(exchange.mapped(noise[rows], faces, inverse=True), faces)


def anonymize_with(
    draw: Callable[[], ImageKey],
    count: int,
    original: Pixels,
    record: FaceRecord,
    exchange: Exchange,
    demands: Demands,
) -> list[Pixels]:
    """The photo (H, W, 3) with one of its faces anonymized under `count` keys, all others left as they are.

    As `anonymize` does, but for restoring; and what a guard among `demands` finds too alike
    in every round is taken nevertheless.
    """
    key = draw()
    (source,) = origins([place_face(original, [record], 0, key)], key, exchange)
    made = draw_best([replace(source, key=draw()) for _ in range(count)], exchange, demands.choice)
    return [square_of(record).paste(original, one.square, record.mask) for one in made]
