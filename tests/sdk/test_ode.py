from itertools import pairwise

import pytest
import torch

from faceseal import ode

SOLVER = ode.Solver(steps=12, start=0.04, bend=1.5, tolerance=1e-6, iterations=40)


def stiff(state: torch.Tensor, time: float) -> torch.Tensor:
    """The exact velocity for Gaussian pictures of spreads from 0.02 to 3, plus a small bend."""
    spread = torch.logspace(-1.7, 0.5, state.shape[1])[None, :, None, None]
    expected = (1 - time) * spread**2 / (((1 - time) * spread) ** 2 + time**2) * state
    return (state - expected) / time + 0.3 * torch.tanh(state.flip(1))


def picture(faces: int = 2) -> torch.Tensor:
    return torch.randn(faces, 8, 16, 16, generator=torch.Generator().manual_seed(1))


def test_generating_from_inverted_noise_returns_the_picture():
    inversion = ode.invert(stiff, picture(), SOLVER)
    assert (ode.generate(stiff, inversion.noise, SOLVER) - picture()).abs().max() < 1e-3
    assert inversion.residual.max() <= SOLVER.tolerance


def test_a_shifted_ode_is_inverted_with_its_shift_only():
    noise = ode.invert(stiff, picture(), SOLVER, shift=0.4).noise
    assert (ode.generate(stiff, noise, SOLVER, shift=0.4) - picture()).abs().max() < 1e-3
    assert (ode.generate(stiff, noise, SOLVER) - picture()).abs().max() > 0.1


def test_the_network_is_told_of_less_noise_where_there_is_more_of_it():
    """As docs/envelope.md says: by a share of the step, in proportion to the time."""
    asked = []

    def listening(state: torch.Tensor, time: float) -> torch.Tensor:
        asked.append(time)
        return torch.zeros_like(state)

    solver = ode.Solver(3, 0.1, 1.0, 1e-6, 1)
    ode.generate(listening, picture(), solver, shift=0.5)
    assert asked == pytest.approx([1.0 - 0.5 * 0.3 * 1.0, 0.7 - 0.5 * 0.3 * 0.7, 0.4 - 0.5 * 0.3 * 0.4])
    ode.invert(listening, picture(), solver, shift=0.5)
    assert asked[3:] == pytest.approx(asked[2::-1])


def test_a_shift_keeps_contrast_that_long_steps_lose():
    def gaussian(state: torch.Tensor, time: float, spread: float = 1.0) -> torch.Tensor:
        expected = (1 - time) * spread**2 / (((1 - time) * spread) ** 2 + time**2) * state
        return (state - expected) / time

    solver = ode.Solver(10, 0.07, 1.0, 1e-6, 1)
    left = [float(ode.generate(gaussian, picture(), solver, shift).std() / picture().std()) for shift in (0.0, 0.5)]
    assert left == pytest.approx([0.893, 0.938], abs=1e-3)


@pytest.mark.parametrize(("time", "steps"), [(1.0, 1), (0.75, 3), (0.0, 12)])
def test_glimpsed_at_and_finished_a_picture_is_what_it_would_have_been(time, steps):
    told = []

    def listening(state: torch.Tensor, time: float) -> torch.Tensor:
        told.append(time)
        return stiff(state, time)

    noise = picture(3)
    seen = ode.glimpse(listening, noise, SOLVER, 0.4, time)
    assert len(told) == steps
    assert told[-1] <= time or steps == SOLVER.steps
    assert all(earlier > time for earlier in told[:-1])
    made = ode.finish(listening, seen.of([2, 0]), SOLVER, 0.4)
    assert len(told) == SOLVER.steps
    assert (made - ode.generate(stiff, noise, SOLVER, 0.4)[[2, 0]]).abs().max() < 1e-5


def test_a_glimpse_shows_what_comes_of_a_picture():
    noise = picture()
    made = ode.generate(stiff, noise, SOLVER)
    early, late = (ode.glimpse(stiff, noise, SOLVER, 0.0, time).picture for time in (0.75, 0.25))
    assert (late - made).square().mean() < (early - made).square().mean() < (noise - made).square().mean()


def test_an_inversion_takes_few_evaluations():
    """Without Anderson's acceleration 94, with a constant first guess 70."""
    assert ode.invert(stiff, picture(), SOLVER).evaluations <= 66


def test_inverting_a_generated_picture_returns_the_noise():
    noise = picture()
    made = ode.generate(stiff, noise, SOLVER)
    assert (ode.invert(stiff, made, SOLVER).noise - noise).abs().max() < 1e-3


def test_an_inversion_that_may_not_iterate_is_far_off():
    """What DDIM inversion does: one evaluation per step."""
    once = ode.Solver(12, 0.04, 1.5, 1e-6, 1)
    back = ode.generate(stiff, ode.invert(stiff, picture(), once).noise, once)
    assert (back - picture()).abs().max() > 0.1


def test_a_face_is_inverted_the_same_alone_and_in_a_batch():
    together = ode.invert(stiff, picture(3), SOLVER).noise[1:2]
    alone = ode.invert(stiff, picture(3)[1:2], SOLVER).noise
    assert (together - alone).abs().max() < 1e-4


def test_the_grid_runs_from_start_to_one_in_growing_steps():
    grid = SOLVER.grid()
    steps = [b - a for a, b in pairwise(grid)]
    assert grid[0] == SOLVER.start
    assert grid[-1] == pytest.approx(1.0)
    assert steps == sorted(steps)


def test_generation_approaches_the_exact_solution_as_steps_shrink():
    def decay(state: torch.Tensor, _: float) -> torch.Tensor:
        return -state

    noise = torch.ones(1, 1, 16, 16)
    exact = torch.e ** (1 - SOLVER.start) / (1 - SOLVER.start)
    errors = [
        float((ode.generate(decay, noise, ode.Solver(n, SOLVER.start, 1.0, 1e-6, 9)) - exact).abs().max())
        for n in (20, 40)
    ]
    assert errors[1] < 0.6 * errors[0]


def test_pictures_keep_their_contrast_though_the_ode_starts_late():
    """For Gaussian pictures the exact flow takes noise of spread one to pictures of their own spread."""

    def gaussian(state: torch.Tensor, time: float, spread: float = 2.0) -> torch.Tensor:
        expected = (1 - time) * spread**2 / (((1 - time) * spread) ** 2 + time**2) * state
        return (state - expected) / time

    late = ode.Solver(200, 0.1, 1.0, 1e-6, 40)
    made = ode.generate(gaussian, picture(), late)
    assert (made.std() / picture().std()).item() == pytest.approx(2.0, rel=0.03)
