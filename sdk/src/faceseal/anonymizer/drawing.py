"""Several faces drawn in one's place: one is kept that the model finds natural and that looks the same way.

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
from faceseal.faces.pose import find_poses
from faceseal.imagekey import ImageKey

if TYPE_CHECKING:
    from faceseal.exchange import Exchange, Face, FloatArray


MOST_ROUNDS = 16
"""While a guard finds every face too alike: of 101 people, 98 had an unlike one within four rounds."""
ODDITY_OF_A_DEGREE = 0.1
"""A head that is turned one degree away counts as much as one found this much more surprising, in logarithms,
of which one person's faces have a standard deviation of .09."""


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
    """For each origin, the least odd of a few faces, in surprise and pose; among those unlike enough, if any."""
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
    best = _chosen(latents, faces, [source.placed for source in several], exchange, choice)
    squares = exchange.shown(latents[best], [faces[index] for index in best], carrying=True)
    draws = []
    for index, square in zip(best, squares, strict=True):
        view = several[index].placed.view
        likeness = _likeness(faces[index], view, _in_view(view, square), choice.guard)
        draws.append(Draw(records[index], faces[index], square, likeness))
    return draws


def _chosen(
    latents: FloatArray, faces: Sequence[Face], placed: Sequence[Placed], exchange: Exchange, choice: Choice
) -> list[int]:
    """The index of the best of each `choice.draws` in a row."""
    if choice.draws == 1:
        return list(range(len(faces)))
    views = [one.view for one in placed]
    made = [_in_view(*each) for each in zip(views, exchange.shown(latents, faces), strict=True)]
    points = [_points_in_view(*each) for each in zip(faces, views, strict=True)]
    turned = np.linalg.norm(find_poses(made, points) - find_poses(views, points), axis=1)
    oddity = np.log(exchange.surprise(latents, faces)) + ODDITY_OF_A_DEGREE * turned
    likeness = [_likeness(*each, choice.guard) for each in zip(faces, views, made, strict=True)]
    marks = [(a > choice.bound, a if a > choice.bound else odd) for a, odd in zip(likeness, oddity, strict=True)]
    groups = range(0, len(faces), choice.draws)
    return [min(range(first, first + choice.draws), key=marks.__getitem__) for first in groups]


def _likeness(face: Face, view: Pixels, made: Pixels, guard: IdentityGuard | None) -> float:
    points = _points_in_view(face, view)
    if guard is None or float(np.linalg.norm(points[1] - points[0])) < guard.smallest:
        return -math.inf
    return guard.likeness(view, made, points)


def _in_view(view: Pixels, square: Pixels) -> Pixels:
    """`view` with `square` in its middle."""
    margin = (len(view) - len(square)) // 2
    made = view.copy()
    made[margin:-margin, margin:-margin] = square
    return made


def _points_in_view(face: Face, view: Pixels) -> FloatArray:
    """The five landmarks (5, 2), in pixels of the view."""
    return face.landmarks[:5] * face.cell + (len(view) - len(face.square)) // 2


def _redrawn(record: FaceRecord) -> FaceRecord:
    kept = record.nonce[:PUBLIC_NONCE_BYTES]
    return replace(record, nonce=kept + os.urandom(NONCE_BYTES - PUBLIC_NONCE_BYTES))


def _under(source: Origin, record: FaceRecord) -> Face:
    return replace(source.placed.face, stream_key=stream_key(source.key, record))
