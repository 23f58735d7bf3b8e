"""Decoder inversion: the latent that decodes to a given picture.

An encoder only estimates it, and a generated picture comes back from its PNG by as much as
the estimate is off.  Here the decoder itself is asked: its squared error in the masked
pixels is made small by L-BFGS (Nocedal and Wright, Numerical Optimization, chapter 7), a
deterministic method, from the encoder's estimate on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROUNDING = 1.0 / 12.0
"""Mean square of what rounding to 8 bits adds, in squared grey levels: nothing below it is known."""


def fit_latent(
    shown: Callable[[Tensor], Tensor],
    latent: Tensor,
    picture: Tensor,
    free: Tensor,
    pixels: Tensor,
    iterations: int,
) -> Tensor:
    """The latent (1, C, L, L) whose `shown` grey levels (1, 3, S, S) fit `picture` where `pixels` (S, S) says.

    It starts at `latent` and changes at `free` (L, L) positions only.  The search ends after
    `iterations`, or where only rounding is left, or where it no longer gets nearer.
    """
    change = torch.zeros_like(latent, requires_grad=True)
    search = torch.optim.LBFGS(
        [change], max_iter=1, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=0.0, tolerance_change=0.0
    )

    def loss() -> Tensor:
        error = (shown(latent + change * free) - picture)[:, :, pixels]
        return error.square().mean()

    def closure() -> float:
        search.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    with torch.inference_mode(mode=False), torch.enable_grad():
        last = float("inf")
        for _ in range(iterations):
            now = float(search.step(closure))  # type: ignore[no-untyped-call]
            if now <= ROUNDING or now >= last:
                break
            last = now
    return (latent + change * free).detach()
