"""How far anonymized faces are guided towards what the model is sure of; part of every sealed file."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 5.0


@dataclass(frozen=True)
class Guidance:
    """Guiding the ODE of the anonymized face away from what a perturbed network would make.

    strength: 1 for none; each step goes `strength` times as far from the perturbed network's
    as the network's own would; since, until: the times, from noise at 1 downwards, at which
    guiding begins and ends.  The original face's ODE is never guided, on the way in or out.

    Raises ValueError unless a header can hold exactly these values: strength a multiple of
    0.1 from 1 to 5, since and until multiples of 0.01 from 0 to 1, until the lesser.
    """

    strength: float
    since: float
    until: float

    def __post_init__(self) -> None:
        strength, since, until = self.stored()
        if not (1 <= self.strength <= MOST and 0 <= self.until <= self.since <= 1):
            raise ValueError("the guidance's settings are impossible")
        if (self.strength, self.since, self.until) != (strength / 10, since / 100, until / 100):
            raise ValueError(f"the guidance's settings must be such as a header can hold: {strength, since, until}")

    def stored(self) -> tuple[int, int, int]:
        """The integers that a header holds."""
        return round(self.strength * 10), round(self.since * 100), round(self.until * 100)

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return self.strength > 1

    def at(self, time: float) -> bool:
        """Whether the ODE is guided at this time."""
        return self.active and self.until <= time <= self.since


UNGUIDED = Guidance(1.0, 1.0, 1.0)
"""None, as files of header version 1 were made."""
