"""The masked ODE, integrated forwards and exactly backwards on one time grid.

Time runs from `start` (the picture) to 1 (noise).  The state at `start` holds ``1 - start``
of the picture, which is therefore scaled on the way in and out: without that, faces would
come out that much too dull.  `generate` takes explicit Euler steps
towards the picture; `invert` undoes each of them by solving

    z_k = z_{k-1} + (t_k - t_{k-1}) v(z_k, t_k)

for z_k with Anderson acceleration (Walker and Ni, SIAM J. Numer. Anal. 49, 2011), from a
guess that extrapolates the velocities of the steps before.  One
explicit step and its implicit inverse cancel up to the residual, whatever the step's size,
so the coarse grid costs realism but not reversibility.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""(state (B, C, 16, 16), time in [0, 1]) -> dz/dt of the same shape, zero outside the mask."""
Progress = Callable[[int], None]
"""Called with the number of network evaluations after each step."""

HISTORY = 3
"""Earlier iterates that Anderson acceleration combines."""


@dataclass(frozen=True)
class Solver:
    """How the ODE is integrated; part of every sealed file.

    steps: of the grid; start: time of the picture; bend: the grid is
    ``start + (1 - start) (k / steps)**bend``, so that steps near the picture are short;
    tolerance: of the residual, root mean square in units of noise; iterations: at most, per
    step.
    """

    steps: int
    start: float
    bend: float
    tolerance: float
    iterations: int

    def grid(self) -> list[float]:
        """Times from the picture to noise, ``steps + 1`` of them."""
        return [self.start + (1.0 - self.start) * (k / self.steps) ** self.bend for k in range(self.steps + 1)]


@dataclass(frozen=True, eq=False)
class Inversion:
    """noise: (B, C, 16, 16); residual: (B,), the largest of any step, in units of noise."""

    noise: Tensor
    residual: Tensor
    evaluations: int


@dataclass(frozen=True, eq=False)
class Glimpse:
    """Pictures on their way: how they will come out can be seen long before they are done.

    state, slope: (B, C, 16, 16), and the velocity there, at grid point `step`; picture: of the
    same shape, where going straight on would lead.
    """

    state: Tensor
    slope: Tensor
    step: int
    picture: Tensor

    def of(self, chosen: Sequence[int]) -> Glimpse:
        """Of some of the pictures."""
        rows = torch.as_tensor(chosen, device=self.state.device)
        return Glimpse(self.state[rows], self.slope[rows], self.step, self.picture[rows])

    def and_also(self, other: Glimpse) -> Glimpse:
        """Of more pictures, glimpsed at the same step."""
        pairs = ((self.state, other.state), (self.slope, other.slope), (self.picture, other.picture))
        state, slope, picture = (torch.cat(pair) for pair in pairs)
        return Glimpse(state, slope, self.step, picture)


def told(before: float, time: float, shift: float) -> float:
    """The time that the network is told of in the step between `before` and `time`, whose state is at `time`.

    Long explicit steps leave too little of what is random, so faces come out smooth: ten leave
    nine tenths of any Gaussian's deviation, and of a face's fine detail less.  Told of less
    noise than there is, the network takes less away (shifted time steps, Li et al., arXiv 2305.15583).
    """
    return time * (1.0 - shift * (time - before))


def generate(velocity: Velocity, noise: Tensor, solver: Solver, shift: float = 0.0) -> Tensor:
    """The picture (B, C, 16, 16) that this noise becomes; shift: see `told`."""
    return _stepped(velocity, noise, solver, shift, solver.steps, 0) / (1.0 - solver.start)


def glimpse(velocity: Velocity, noise: Tensor, solver: Solver, shift: float, time: float) -> Glimpse:
    """`generate`, as far as to the first step in which the network is told of `time` or an earlier one."""
    grid = solver.grid()
    step = max((k for k in range(1, solver.steps + 1) if told(grid[k - 1], grid[k], shift) <= time), default=1)
    state = _stepped(velocity, noise, solver, shift, solver.steps, step)
    slope = velocity(state, told(grid[step - 1], grid[step], shift))
    return Glimpse(state, slope, step, state - grid[step] * slope)


def finish(velocity: Velocity, seen: Glimpse, solver: Solver, shift: float = 0.0) -> Tensor:
    """The pictures (B, C, 16, 16) that `generate` would have made."""
    grid = solver.grid()
    state = seen.state - (grid[seen.step] - grid[seen.step - 1]) * seen.slope
    return _stepped(velocity, state, solver, shift, seen.step - 1, 0) / (1.0 - solver.start)


def invert(velocity: Velocity, picture: Tensor, solver: Solver, shift: float = 0.0) -> Inversion:
    """The noise from which `generate` makes this picture; shift: see `told`."""
    grid = solver.grid()
    state, evaluations = picture * (1.0 - solver.start), 0
    worst = torch.zeros(picture.shape[0], device=picture.device)
    slopes: list[Tensor] = []
    for k in range(1, solver.steps + 1):
        step = grid[k] - grid[k - 1]
        before, time = state, told(grid[k - 1], grid[k], shift)
        state, residual, used = _solve(
            lambda z, before=before, step=step, time=time: before + step * velocity(z, time),  # type: ignore[misc]
            before + step * _extrapolated(slopes, grid[: k + 1]) if slopes else before,
            solver,
        )
        slopes = [*slopes[-1:], (state - before) / step]
        worst = torch.maximum(worst, residual)
        evaluations += used
    return Inversion(state, worst, evaluations)


def _stepped(velocity: Velocity, state: Tensor, solver: Solver, shift: float, first: int, last: int) -> Tensor:
    """The state at grid point `last`, from that at `first`, by explicit Euler steps towards the picture."""
    grid = solver.grid()
    for k in range(first, last, -1):
        state = state - (grid[k] - grid[k - 1]) * velocity(state, told(grid[k - 1], grid[k], shift))
    return state


def _extrapolated(slopes: list[Tensor], times: list[float]) -> Tensor:
    """The velocity at the last of `times`, from those at the one or two times before it."""
    if len(slopes) == 1:
        return slopes[0]
    reach = (times[-1] - times[-2]) / (times[-2] - times[-3])
    return slopes[1] + reach * (slopes[1] - slopes[0])


def _solve(update: Callable[[Tensor], Tensor], guess: Tensor, solver: Solver) -> tuple[Tensor, Tensor, int]:
    """(fixed point of `update`, residual (B,), evaluations), Anderson-accelerated per face.

    The last value is the update of the last iterate, so its own residual is smaller than
    the one reported wherever the update contracts.
    """
    points: list[Tensor] = []
    images: list[Tensor] = []
    point = guess
    for used in range(1, solver.iterations + 1):
        image = update(point)
        residual = (image - point).flatten(1)
        size = residual.square().mean(dim=1).sqrt()
        if bool((size <= solver.tolerance).all()) or used == solver.iterations:
            return image, size, used
        points, images = [*points[-HISTORY:], point], [*images[-HISTORY:], image]
        point = _anderson(points, images)
    raise AssertionError("unreachable: iterations is at least one")


def _anderson(points: list[Tensor], images: list[Tensor]) -> Tensor:
    """The combination of images whose residuals cancel best, in float64 per face."""
    if len(points) == 1:
        return images[0]
    residuals = torch.stack([(g - x).flatten(1) for g, x in zip(images, points, strict=True)], dim=2).double()
    differences = residuals[:, :, 1:] - residuals[:, :, :-1]
    gram = differences.transpose(1, 2) @ differences
    ridge = 1e-10 * gram.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] + 1e-30
    gram = gram + ridge * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram, differences.transpose(1, 2) @ residuals[:, :, -1:])
    steps = torch.stack([(b - a).flatten(1) for a, b in pairwise(images)], dim=2).double()
    correction = (steps @ weights).reshape(images[-1].shape)
    return torch.as_tensor(images[-1] - correction.to(images[-1].dtype))
