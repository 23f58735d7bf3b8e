"""Several faces drawn in one's place, of which the one is kept that the model finds least surprising.

Drawing is cheap: one inversion of the original serves any number of nonces, because the
part of the nonce that the inversion depends on stays as it is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.placing import Placed, stream_key
from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import NONCE_BYTES, PUBLIC_NONCE_BYTES, FaceRecord
from faceseal.imagekey import ImageKey

if TYPE_CHECKING:
    from faceseal.exchange import Exchange, Face, FloatArray


MOST_ROUNDS = 16
"""While a guard finds every face too alike: of 101 people, 98 had an unlike one within four rounds."""


@dataclass(frozen=True)
class Choice:
    """What a face is chosen by.

    draws: faces in a round; rounds: at most, while none of a round is unlike enough; guard: which
    says what is enough, None for any.
    """

    draws: int
    rounds: int = 1
    guard: IdentityGuard | None = None

    @property
    def bound(self) -> float:
        """The most alike that a face may be."""
        return math.inf if self.guard is None else self.guard.most_alike


@dataclass(frozen=True, eq=False)
class Origin:
    """A face to be replaced, the key, and the face's noise (C, L, L) from `Exchange.noise`."""

    placed: Placed
    key: ImageKey
    noise: FloatArray


@dataclass(frozen=True, eq=False)
class Draw:
    """A face in another's place.

    record: with its nonce; face: the original, under that nonce; square: (S, S, 3), the new
    one; likeness: of both, for the guard; rounds: drawn until then.
    """

    record: FaceRecord
    face: Face
    square: Pixels
    likeness: float
    rounds: int = 1


def origins(placed: Sequence[Placed], key: ImageKey, exchange: Exchange) -> list[Origin]:
    """What faces of a photo are drawn from: inverts them, in one batch."""
    noise = exchange.noise([one.face for one in placed])
    return [Origin(one, key, found) for one, found in zip(placed, noise, strict=True)]


def draw_best(sources: Sequence[Origin], exchange: Exchange, choice: Choice) -> list[Draw]:
    """For each origin, the least surprising of a few faces; among those unlike enough, if there are any."""
    best: dict[int, Draw] = {}
    pending = list(range(len(sources)))
    for number in range(1, choice.rounds + 1):
        drawn = _draw_once([sources[index] for index in pending], exchange, choice)
        for index, draw in zip(pending, drawn, strict=True):
            nearer = best[index] if index in best and best[index].likeness <= draw.likeness else draw
            best[index] = replace(nearer, rounds=number)
        pending = [index for index in pending if best[index].likeness > choice.bound]
        if not pending:
            break
    return [best[index] for index in range(len(sources))]


def _draw_once(sources: Sequence[Origin], exchange: Exchange, choice: Choice) -> list[Draw]:
    records = [_redrawn(source.placed.record) for source in sources for _ in range(choice.draws)]
    several = [source for source in sources for _ in range(choice.draws)]
    faces = [_under(source, record) for source, record in zip(several, records, strict=True)]
    noise = np.stack([source.noise for source in several])
    latents = exchange.anonymous(exchange.mapped(noise, faces), faces)
    views = [source.placed.view for source in several]
    best = _chosen(latents, faces, views, exchange, choice)
    squares = exchange.shown(latents[best], [faces[index] for index in best], carrying=True)
    return [
        Draw(records[index], faces[index], square, _likeness(faces[index], views[index], square, choice.guard))
        for index, square in zip(best, squares, strict=True)
    ]


def _chosen(
    latents: FloatArray, faces: Sequence[Face], views: Sequence[Pixels], exchange: Exchange, choice: Choice
) -> list[int]:
    """The index of the best of each `choice.draws` in a row."""
    if choice.draws == 1:
        return list(range(len(faces)))
    surprise = exchange.surprise(latents, faces)
    likeness = np.full(len(faces), -math.inf)
    if choice.guard is not None:
        squares = exchange.shown(latents, faces)
        likeness = np.array([_likeness(*each, choice.guard) for each in zip(faces, views, squares, strict=True)])
    marks = [(a > choice.bound, a if a > choice.bound else odd) for a, odd in zip(likeness, surprise, strict=True)]
    groups = range(0, len(faces), choice.draws)
    return [min(range(first, first + choice.draws), key=marks.__getitem__) for first in groups]


def _likeness(face: Face, view: Pixels, square: Pixels, guard: IdentityGuard | None) -> float:
    points = face.landmarks[:5] * face.cell
    if guard is None or float(np.linalg.norm(points[1] - points[0])) < guard.smallest:
        return -math.inf
    margin = (len(view) - len(square)) // 2
    made = view.copy()
    made[margin:-margin, margin:-margin] = square
    return guard.likeness(view, made, points + margin)


def _redrawn(record: FaceRecord) -> FaceRecord:
    kept = record.nonce[:PUBLIC_NONCE_BYTES]
    return replace(record, nonce=kept + os.urandom(NONCE_BYTES - PUBLIC_NONCE_BYTES))


def _under(source: Origin, record: FaceRecord) -> Face:
    return replace(source.placed.face, stream_key=stream_key(source.key, record))
