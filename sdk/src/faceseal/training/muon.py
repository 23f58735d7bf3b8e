"""Muon: momentum whose matrices are made orthogonal before each step.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024,
https://kellerjordan.github.io/posts/muon/), scaled to the root mean square of an AdamW
update as in Liu et al. (arXiv 2502.16982), so that AdamW's learning rates fit.
``torch.optim.Muon`` takes matrices only; most weights of this network are convolutions,
which count here as matrices of (outputs, inputs * height * width).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic that drives singular values towards one."""
ITERATIONS = 5
UPDATE_RMS = 0.2
"""Root mean square of a typical AdamW update (arXiv 2502.16982, section 2.2)."""


def orthogonalized(matrix: Tensor) -> Tensor:
    """Nearly the orthogonal factor of a matrix (m, n), by Newton-Schulz iterations in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return torch.as_tensor((x.T if tall else x).to(matrix.dtype))


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; the others belong to AdamW."""

    def __init__(
        self, weights: Iterable[Tensor], learning_rate: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(weights, {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all weights that have a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, weight: Tensor, gradient: Tensor, rate: float, momentum: float, decay: float) -> None:
        state = self.state[weight]
        if "average" not in state:
            state["average"] = torch.zeros_like(weight)
        average = state["average"].lerp_(gradient, 1 - momentum)
        update = orthogonalized(gradient.lerp(average, momentum).flatten(1))
        weight.mul_(1 - rate * decay)
        weight.add_(update.view_as(weight), alpha=-rate * UPDATE_RMS * max(update.shape) ** 0.5)


def optimizers(network: nn.Module, learning_rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the network's matrices and convolutions, AdamW for its biases and norms."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [
        Muon(weights, learning_rate, weight_decay=weight_decay),
        torch.optim.AdamW(others, learning_rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]
