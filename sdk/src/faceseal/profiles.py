"""How thoroughly a photo is sealed: named settings, with what they were measured to reach."""

from __future__ import annotations

from dataclasses import dataclass

from faceseal.envelope.header import SolverRecord
from faceseal.errors import PhotoError
from faceseal.guidance import UNGUIDED, Guidance


@dataclass(frozen=True)
class Profile:
    """Settings of one anonymization.

    solver: how the ODE is integrated; least_fidelity: how near, in dB of the mask's pixels,
    restoring from the 8-bit pixels alone must come to what the model carries of the face,
    or other nonces are drawn, at most `attempts` times; draws: nonces of which one is kept whose face is
    natural, looks the same way and goes with the photo, and of which only the most promising, `finished`
    of them, are generated to the end; guidance: of the anonymized face, with models that can be guided.
    """

    name: str
    solver: SolverRecord
    least_fidelity: float
    attempts: int
    draws: int = 1
    finished: int = 1
    guidance: Guidance = UNGUIDED


GUIDED = Guidance(1.6, 0.75, 0.2, 0.3)
"""See docs/adr/0023-anonymized-faces-are-guided.md, 0025-the-network-is-told-of-less-noise.md."""
FAST = Profile("fast", SolverRecord(8, 0.07, 1.0, 5e-4, 8), 28.0, 8, 4, 2, GUIDED)
DEFAULT = Profile("default", SolverRecord(10, 0.07, 1.0, 2e-4, 12), 32.0, 8, 8, 2, GUIDED)
BEST = Profile("best", SolverRecord(24, 0.07, 1.0, 1e-4, 12), 34.0, 8, 16, 4, GUIDED)
PROFILES = {profile.name: profile for profile in (FAST, DEFAULT, BEST)}


def profile_named(name: str) -> Profile:
    """The profile of this name.  Raises PhotoError with the names there are."""
    if name not in PROFILES:
        raise PhotoError(f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
