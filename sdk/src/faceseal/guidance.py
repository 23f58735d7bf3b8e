"""How the ODE of anonymized faces differs from the model's own; part of every sealed file."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 5.0


@dataclass(frozen=True)
class Guidance:
    """Guiding the ODE of the anonymized face away from what a perturbed network would make.

    strength: 1 for none; each step goes `strength` times as far from the perturbed network's
    as the network's own would; since, until: the times, from noise at 1 downwards, at which
    guiding begins and ends; shift: how much earlier a time the network is told than the state
    has (see `faceseal.ode.told`), which keeps the contrast that long steps lose.  The original
    face's ODE is neither guided nor shifted, on the way in or out.

    Raises ValueError unless a header can hold exactly these values: strength a multiple of
    0.1 from 1 to 5, the others multiples of 0.01 from 0 to 1, until at most since.
    """

    strength: float
    since: float
    until: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        strength, *others = self.stored()
        possible = 1 <= self.strength <= MOST and 0 <= self.until <= self.since <= 1 and 0 <= self.shift <= 1
        if not possible:
            raise ValueError("the guidance's settings are impossible")
        exact = strength / 10, *(value / 100 for value in others)
        if (self.strength, self.since, self.until, self.shift) != exact:
            raise ValueError(f"the guidance's settings must be such as a header can hold: {exact}")

    def __str__(self) -> str:
        guided = f"{self.strength:g} from {self.since:g} to {self.until:g}" if self.active else "none"
        return f"{guided}, shifted by {self.shift:g}" if self.shift else guided

    def stored(self) -> tuple[int, int, int, int]:
        """The integers that a header holds."""
        return round(self.strength * 10), round(self.since * 100), round(self.until * 100), round(self.shift * 100)

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return self.strength > 1

    def at(self, time: float) -> bool:
        """Whether the ODE is guided at this time."""
        return self.active and self.until <= time <= self.since


UNGUIDED = Guidance(1.0, 1.0, 1.0)
"""The model's own, as files of header version 1 were made."""
