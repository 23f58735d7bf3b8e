"""Exchanging the faces of one layer, and again until they are what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from faceseal.anonymizer.drawing import MOST_ROUNDS, Choice, Draw, draw_best, origins
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.placing import Placed
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
        return Choice(self.profile.draws, self.profile.finished, MOST_ROUNDS, self.guard)

    def met(self, attempt: Attempt) -> bool:
        """Whether no other nonce is needed."""
        return attempt.reached >= self.profile.least_fidelity

    def check_fidelity(self, reached: float) -> None:
        """Raises FidelityTooLow."""
        if reached < self.profile.least_fidelity:
            raise FidelityTooLow(
                f"restoring from the pixels alone would come within {reached:.1f} dB of what the model carries, and "
                f"profile {self.profile.name!r} asks for {self.profile.least_fidelity:.0f}; try another profile"
            )

    def check_unlike(self, draw: Draw) -> None:
        """Raises FaceTooAlike."""
        if self.guard is not None and draw.likeness > self.guard.most_alike:
            raise FaceTooAlike(
                f"of {draw.rounds * self.profile.draws} faces drawn, the least alike is still {draw.likeness:.2f} like "
                f"its origin, and the most allowed is {self.guard.most_alike:.2f}; allow more, or try again"
            )


@dataclass(frozen=True, eq=False)
class Attempt:
    """A face exchanged and restored.

    rounds: how often faces were drawn until then; reached: dB between what came back and what
    could.
    """

    rounds: int
    record: FaceRecord
    square: Pixels
    restored: Pixels
    reached: float


def best_attempts(
    placed: Mapping[int, Placed], exchange: Exchange, key: ImageKey, demands: Demands
) -> dict[int, Attempt]:
    """The best attempt for each face of one layer.

    A nonce serves well if the restored 8-bit square comes close to what the latent carries
    of the original: what the latent itself drops, no nonce brings back.

    Raises FaceTooAlike or FidelityTooLow.
    """
    best: dict[int, Attempt] = {}
    rounds = dict.fromkeys(placed, 0)
    pending = dict(zip(placed, origins(list(placed.values()), key, exchange), strict=True))
    for _ in range(demands.profile.attempts):
        drawn = draw_best(list(pending.values()), exchange, demands.choice)
        for draw in drawn:
            demands.check_unlike(draw)
        back = exchange.restore([replace(draw.face, square=draw.square) for draw in drawn])
        for index, draw, restored in zip(pending, drawn, back, strict=True):
            rounds[index] += draw.rounds
            inside = draw.face.masked_pixels
            reached = decibel(exchange.carried(draw.face)[inside], restored[inside])
            if index not in best or reached > best[index].reached:
                best[index] = Attempt(rounds[index], draw.record, draw.square, restored, reached)
        pending = {index: origin for index, origin in pending.items() if not demands.met(best[index])}
        if not pending:
            break
    for attempt in best.values():
        demands.check_fidelity(attempt.reached)
    return best


def decibel(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit values, at most 99 dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(min(99.0, 10 * np.log10(255.0**2 / max(float(error), 1e-12))))
