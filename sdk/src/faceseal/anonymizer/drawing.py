"""Several faces drawn in one's place: one is kept that the model finds natural and that goes with the photo.

Drawing is cheap: one inversion of the original serves any number of nonces, because the
part of the nonce that the inversion depends on stays as it is.  And most faces need not be
finished: which way they look, how old they seem and how they are lit shows at a third of the way.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
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
    from faceseal.ode import Glimpse


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
Mark = tuple[bool, float]
"""How bad a face is, to be compared: whether it is too alike, and how much so, or else how odd."""
GLIMPSE = 0.75
"""The time at which faces are first judged; see docs/adr/0026-most-faces-are-judged-unfinished.md."""


@dataclass(frozen=True)
class Choice:
    """What a face is chosen by.

    draws: faces in a round; finished: of those, the most promising, which alone are generated to
    the end; rounds: at most, while none of a round is unlike enough; guard: which says what is
    enough, None for anything.  If no more than half of a round promise to be, another is drawn
    before the most promising of both are finished.
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
    rounds = dict.fromkeys(range(len(sources)), 0)
    pending = list(rounds)
    while pending:
        left = [choice.rounds - rounds[index] for index in pending]
        drawn = _draw_once([sources[index] for index in pending], exchange, choice, left)
        for index, draw in zip(pending, drawn, strict=True):
            rounds[index] += draw.rounds
            nearer = best[index] if index in best and best[index].likeness <= draw.likeness else draw
            best[index] = replace(nearer, rounds=rounds[index])
        pending = [i for i in pending if best[i].likeness > choice.bound and rounds[i] < choice.rounds]
    return [best[index] for index in range(len(sources))]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A nonce, and the original face under it; own: what `_traits` says of the original."""

    placed: Placed
    record: FaceRecord
    face: Face
    own: FloatArray


def _draw_once(sources: Sequence[Origin], exchange: Exchange, choice: Choice, left: Sequence[int]) -> list[Draw]:
    """One round for each origin, or two; left: rounds that may still be drawn for each."""
    drawn, latents, rounds = _finished(sources, exchange, choice, left)
    if choice.finished > 1:
        surprise = np.log(exchange.surprise(latents, [one.face for one in drawn]))
        marks = _marks(drawn, latents, exchange, choice, surprise)
        best = _least(marks, _groups(len(sources), choice.finished), 1)
        drawn, latents = [drawn[index] for index in best], latents[best]
    squares = exchange.shown(latents, [one.face for one in drawn], carrying=True)
    return [
        Draw(one.record, one.face, square, _likeness(one, _in_view(one.placed.view, square), choice.guard), number)
        for one, square, number in zip(drawn, squares, rounds, strict=True)
    ]


def _finished(
    sources: Sequence[Origin], exchange: Exchange, choice: Choice, left: Sequence[int]
) -> tuple[list[_Candidate], FloatArray, list[int]]:
    """The `choice.finished` most promising faces for each origin in a row, their latents, and each origin's rounds."""
    if choice.finished == choice.draws:
        drawn, mapped = _candidates(sources, exchange, choice.draws)
        return drawn, exchange.anonymous(mapped, [one.face for one in drawn]), [1] * len(sources)
    looks, rounds = _glimpsed(sources, exchange, choice), [1] * len(sources)
    groups = _groups(len(sources), choice.draws)
    few = [i for i, group in enumerate(groups) if left[i] > 1 and _few(looks.marks[one] for one in group)]
    if few:
        again = _glimpsed([sources[index] for index in few], exchange, choice)
        for index, group in zip(few, _groups(len(few), choice.draws), strict=True):
            groups[index] += [len(looks.drawn) + other for other in group]
            rounds[index] += 1
        looks = looks.and_also(again)
    promising = _least(looks.marks, groups, choice.finished)
    kept = [looks.drawn[index] for index in promising]
    return kept, exchange.finished(looks.seen.of(promising), [one.face for one in kept]), rounds


@dataclass(frozen=True, eq=False)
class _Looks:
    """Faces on their way, and what is thought of each."""

    drawn: list[_Candidate]
    seen: Glimpse
    marks: list[Mark]

    def and_also(self, other: _Looks) -> _Looks:
        return _Looks(self.drawn + other.drawn, self.seen.and_also(other.seen), self.marks + other.marks)


def _glimpsed(sources: Sequence[Origin], exchange: Exchange, choice: Choice) -> _Looks:
    """`choice.draws` in a row for each origin."""
    drawn, mapped = _candidates(sources, exchange, choice.draws)
    seen = exchange.glimpse(mapped, [one.face for one in drawn], GLIMPSE)
    return _Looks(drawn, seen, _marks(drawn, exchange.seen(seen), exchange, choice, np.zeros(len(drawn))))


def _few(marks: Iterable[Mark]) -> bool:
    """Whether the guard leaves at most half of these faces, so that there is little to choose from."""
    too_alike = [alike for alike, _ in marks]
    return 2 * sum(too_alike) >= len(too_alike)


def _candidates(sources: Sequence[Origin], exchange: Exchange, draws: int) -> tuple[list[_Candidate], FloatArray]:
    """`draws` in a row for each origin, and the noise of each."""
    views = [source.placed.view for source in sources]
    own = _traits(views, [source.placed.face for source in sources]) if draws > 1 else np.zeros((len(sources), 0))
    drawn = []
    for source, traits in zip(sources, own, strict=True):
        for _ in range(draws):
            record = _redrawn(source.placed.record)
            drawn.append(_Candidate(source.placed, record, _under(source, record), traits))
    noise = np.stack([source.noise for source in sources]).repeat(draws, axis=0)
    return drawn, exchange.mapped(noise, [one.face for one in drawn])


def _marks(
    drawn: Sequence[_Candidate], latents: FloatArray, exchange: Exchange, choice: Choice, surprise: FloatArray
) -> list[Mark]:
    """Of each face; surprise: its logarithm."""
    squares = exchange.shown(latents, [one.face for one in drawn])
    made = [_in_view(one.placed.view, square) for one, square in zip(drawn, squares, strict=True)]
    traits = _traits(made, [one.face for one in drawn])
    oddity = surprise + _difference(traits, np.stack([one.own for one in drawn]))
    likeness = [_likeness(one, shown, choice.guard) for one, shown in zip(drawn, made, strict=True)]
    return [(a > choice.bound, a if a > choice.bound else odd) for a, odd in zip(likeness, oddity, strict=True)]


def _least(marks: Sequence[Mark], groups: Sequence[Sequence[int]], count: int) -> list[int]:
    """Indices of the `count` least of each group of indices."""
    return [index for group in groups for index in sorted(group, key=marks.__getitem__)[:count]]


def _groups(count: int, size: int) -> list[list[int]]:
    """Indices of `size` in a row, `count` times."""
    return [list(range(first, first + size)) for first in range(0, count * size, size)]


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
