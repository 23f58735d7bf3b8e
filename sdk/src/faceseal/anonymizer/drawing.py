"""Several faces drawn in one's place: one is kept that the model finds natural and that goes with the photo.

Drawing is cheap: one inversion of the original serves any number of nonces, because the
part of the nonce that the inversion depends on stays as it is.  And most faces need not be
finished: which way they look, how old they seem and how they are lit shows at a third of the way.
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
from faceseal.faces.light import find_light
from faceseal.faces.looks import find_looks
from faceseal.faces.pose import find_poses
from faceseal.imagekey import ImageKey

if TYPE_CHECKING:
    from faceseal.exchange import Exchange, Face, FloatArray


MOST_ROUNDS = 16
"""While a guard finds every face too alike: of 101 people, 98 had an unlike one within four rounds."""
ODDITY_OF_A_DEGREE = 0.1
"""A head that is turned one degree away counts as much as one found this much more surprising, in logarithms,
of which one person's faces have a standard deviation of .14."""
ODDITY_OF_THE_OTHER_SEX = 1.0
"""The same of a face that looks like a woman's in a man's place, or a man's in a woman's."""
ODDITY_OF_A_YEAR = 0.01
"""The same of a face that looks a year older or younger."""
ODDITY_OF_A_LEVEL = 0.01
"""The same of a face whose quarters are, on average, one of 255 levels away from the colour of the original's."""
GLIMPSE = 0.75
"""The time at which faces are first judged; see docs/adr/0026-most-faces-are-judged-unfinished.md."""


@dataclass(frozen=True)
class Choice:
    """What a face is chosen by.

    draws: faces in a round; finished: of those, the most promising, which alone are generated to
    the end; rounds: at most, while none of a round is unlike enough; guard: which says what is
    enough, None for any.
    """

    draws: int
    finished: int
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
    """For each origin, the least odd of a few faces; among those unlike enough, if any.

    Odd is what the model finds surprising, what looks another way, what seems older, younger, or
    of the other sex, and what is lit or coloured otherwise.
    """
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


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A nonce, and the original face under it; own: what `_traits` says of the original."""

    placed: Placed
    record: FaceRecord
    face: Face
    own: FloatArray


def _draw_once(sources: Sequence[Origin], exchange: Exchange, choice: Choice) -> list[Draw]:
    drawn = _candidates(sources, choice.draws)
    noise = np.stack([source.noise for source in sources]).repeat(choice.draws, axis=0)
    mapped = exchange.mapped(noise, [one.face for one in drawn])
    drawn, latents = _finished(drawn, mapped, exchange, choice)
    if choice.finished > 1:
        surprise = np.log(exchange.surprise(latents, [one.face for one in drawn]))
        best = _least(_marks(drawn, latents, exchange, choice, surprise), choice.finished, 1)
        drawn, latents = [drawn[index] for index in best], latents[best]
    squares = exchange.shown(latents, [one.face for one in drawn], carrying=True)
    return [
        Draw(one.record, one.face, square, _likeness(one, _in_view(one.placed.view, square), choice.guard))
        for one, square in zip(drawn, squares, strict=True)
    ]


def _candidates(sources: Sequence[Origin], draws: int) -> list[_Candidate]:
    """`draws` in a row for each origin."""
    views = [source.placed.view for source in sources]
    own = _traits(views, [source.placed.face for source in sources]) if draws > 1 else np.zeros((len(sources), 0))
    drawn = []
    for source, traits in zip(sources, own, strict=True):
        for _ in range(draws):
            record = _redrawn(source.placed.record)
            drawn.append(_Candidate(source.placed, record, _under(source, record), traits))
    return drawn


def _finished(
    drawn: list[_Candidate], noise: FloatArray, exchange: Exchange, choice: Choice
) -> tuple[list[_Candidate], FloatArray]:
    """The `choice.finished` most promising of each `choice.draws` in a row, and their latents."""
    faces = [one.face for one in drawn]
    if choice.finished == choice.draws:
        return drawn, exchange.anonymous(noise, faces)
    seen = exchange.glimpse(noise, faces, GLIMPSE)
    marks = _marks(drawn, exchange.seen(seen), exchange, choice, np.zeros(len(drawn)))
    promising = _least(marks, choice.draws, choice.finished)
    kept = [drawn[index] for index in promising]
    return kept, exchange.finished(seen.of(promising), [one.face for one in kept])


def _marks(
    drawn: Sequence[_Candidate], latents: FloatArray, exchange: Exchange, choice: Choice, surprise: FloatArray
) -> list[tuple[bool, float]]:
    """Of each face, how bad it is, to be compared: too alike, and how much so, or how odd; surprise: its logarithm."""
    squares = exchange.shown(latents, [one.face for one in drawn])
    made = [_in_view(one.placed.view, square) for one, square in zip(drawn, squares, strict=True)]
    traits = _traits(made, [one.face for one in drawn])
    oddity = surprise + _difference(traits, np.stack([one.own for one in drawn]))
    likeness = [_likeness(one, shown, choice.guard) for one, shown in zip(drawn, made, strict=True)]
    return [(a > choice.bound, a if a > choice.bound else odd) for a, odd in zip(likeness, oddity, strict=True)]


def _least(marks: Sequence[tuple[bool, float]], group: int, count: int) -> list[int]:
    """Indices of the `count` least of each `group` in a row."""
    return [
        index
        for first in range(0, len(marks), group)
        for index in sorted(range(first, first + group), key=marks.__getitem__)[:count]
    ]


def _traits(views: Sequence[Pixels], faces: Sequence[Face]) -> FloatArray:
    """Rotation vector, apparent sex and age, and light (N, 17) of one face in the middle of each view."""
    points = [_points_in_view(face, view) for face, view in zip(faces, views, strict=True)]
    light = [find_light(_middle(view, len(face.square)), face.mask) for face, view in zip(faces, views, strict=True)]
    return np.concatenate(
        [find_poses(views, points), find_looks(views, points), np.reshape(light, (len(faces), 12))], axis=1
    )


def _difference(made: FloatArray, own: FloatArray) -> FloatArray:
    """How much odder than the original (N,) faces are whose traits (N, 17) these are."""
    apart = made - own
    turned = np.linalg.norm(apart[:, :3], axis=1)
    sex, years = np.abs(apart[:, 3:5]).T
    levels = np.linalg.norm(apart[:, 5:].reshape(-1, 4, 3), axis=2).mean(axis=1)
    return np.asarray(
        ODDITY_OF_A_DEGREE * turned
        + ODDITY_OF_THE_OTHER_SEX * sex
        + ODDITY_OF_A_YEAR * years
        + ODDITY_OF_A_LEVEL * levels
    )


def _likeness(drawn: _Candidate, made: Pixels, guard: IdentityGuard | None) -> float:
    view = drawn.placed.view
    points = _points_in_view(drawn.face, view)
    if guard is None or float(np.linalg.norm(points[1] - points[0])) < guard.smallest:
        return -math.inf
    return guard.likeness(view, made, points)


def _middle(view: Pixels, side: int) -> Pixels:
    """(side, side, 3)."""
    margin = (len(view) - side) // 2
    return view[margin : margin + side, margin : margin + side]


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
