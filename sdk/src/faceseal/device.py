"""Where the generator computes."""

from __future__ import annotations

import torch

from faceseal.errors import ModelError


def device_named(name: str) -> torch.device:
    """The device that torch calls by this name, such as ``cpu`` or ``cuda:1``.

    Raises ModelError if there is no such device here, or none that gives results back.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (AssertionError, RuntimeError) as cause:
        # AssertionError: torch was built without CUDA.
        reason = " ".join(str(cause).split())[:200]
        raise ModelError(f"cannot compute on {name!r}; choose cpu, or a GPU that torch sees: {reason}") from cause
    return device
