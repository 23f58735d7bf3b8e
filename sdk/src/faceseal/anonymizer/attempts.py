"""Exchanging the faces of one layer, and again until they are what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from faceseal.anonymizer.drawing import Choice, Draw, Origin, draw_best, origins
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import FaceRecord
from faceseal.errors import FaceTooAlike, FidelityTooLow
from faceseal.imagekey import ImageKey
from faceseal.profiles import Profile

if TYPE_CHECKING:
    from faceseal.exchange import Exchange


@dataclass(frozen=True)
class Demands:
    """What an anonymized face must fulfil: the profile's fidelity and, with a guard, that it is another's."""

    profile: Profile
    guard: IdentityGuard | None = None

    @property
    def choice(self) -> Choice:
        """How a face is chosen from those drawn."""
        return Choice(self.profile.draws, self.guard)

    def check(self, reached: float, likeness: float = -math.inf) -> None:
        """Raises FidelityTooLow or FaceTooAlike."""
        if reached < self.profile.least_fidelity:
            raise FidelityTooLow(
                f"restoring from the pixels alone would come within {reached:.1f} dB of what the model carries, and "
                f"profile {self.profile.name!r} asks for {self.profile.least_fidelity:.0f}; try another profile"
            )
        if self.guard is not None and likeness > self.guard.most_alike:
            raise FaceTooAlike(
                f"after {self.profile.attempts} attempts a face is still {likeness:.2f} like its origin, and the "
                f"most allowed is {self.guard.most_alike:.2f}; allow more, or try again"
            )

    def prefer(self, attempt: Attempt) -> tuple[bool, float, float]:
        """Greater for a better attempt: enough fidelity comes first, then unlikeness, as far as it is asked for."""
        likeness = attempt.likeness if self.guard is not None else 0.0
        return attempt.reached >= self.profile.least_fidelity, -likeness, attempt.reached

    def met(self, attempt: Attempt) -> bool:
        """Whether no other nonce is needed."""
        unlike = self.guard is None or attempt.likeness <= self.guard.most_alike
        return unlike and attempt.reached >= self.profile.least_fidelity


@dataclass(frozen=True, eq=False)
class Attempt:
    """A face exchanged and restored.

    number: how many faces were chosen until then; reached: dB between what came back and
    what could; likeness: of the new face and the old, for the guard.
    """

    number: int
    record: FaceRecord
    square: Pixels
    restored: Pixels
    reached: float
    likeness: float


def best_attempts(
    pixels: Pixels, records: dict[int, FaceRecord], exchange: Exchange, key: ImageKey, demands: Demands
) -> dict[int, Attempt]:
    """The best attempt for each face of one layer.

    A nonce serves well if the restored 8-bit square comes close to what the latent carries
    of the original: what the latent itself drops, no nonce brings back.
    """
    best: dict[int, Attempt] = {}
    pending = dict(zip(records, origins(pixels, list(records.values()), key, exchange), strict=True))
    for number in range(1, demands.profile.attempts + 1):
        made = _attempt(list(pending.values()), exchange, demands, number)
        for index, attempt in zip(pending, made, strict=True):
            if index not in best or demands.prefer(attempt) > demands.prefer(best[index]):
                best[index] = attempt
        pending = {index: origin for index, origin in pending.items() if not demands.met(best[index])}
        if not pending:
            break
    for attempt in best.values():
        demands.check(attempt.reached, attempt.likeness)
    return best


def _attempt(sources: Sequence[Origin], exchange: Exchange, demands: Demands, number: int) -> list[Attempt]:
    drawn = draw_best(sources, exchange, demands.choice)
    back = exchange.restore([replace(draw.face, square=draw.square) for draw in drawn])
    return [_judged(draw, again, exchange, number) for draw, again in zip(drawn, back, strict=True)]


def _judged(draw: Draw, restored: Pixels, exchange: Exchange, number: int) -> Attempt:
    inside = draw.face.masked_pixels
    reached = decibel(exchange.carried(draw.face)[inside], restored[inside])
    return Attempt(number, draw.record, draw.square, restored, reached, draw.likeness)


def decibel(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit values, at most 99 dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(min(99.0, 10 * np.log10(255.0**2 / max(float(error), 1e-12))))
