"""Where the generator computes."""

from __future__ import annotations

import torch

from faceseal.errors import ModelError


def device_named(name: str) -> torch.device:
    """The device that torch calls by this name, such as ``cpu`` or ``cuda:1``.

    Raises ModelError if there is no such device here, or none that the solver can compute on.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (AssertionError, ImportError, RuntimeError, TypeError) as cause:
        # AssertionError: torch was built without it.  ImportError: its package is missing.
        # TypeError: it has no float64, which the solver needs (Apple's MPS).
        reason = " ".join(str(cause).split())[:200]
        raise ModelError(f"cannot compute on {name!r}; choose cpu, or a GPU that torch sees: {reason}") from cause
    return device
