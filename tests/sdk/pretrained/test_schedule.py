import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler

from faceseal.errors import ModelError
from faceseal.pretrained.schedule import LAST_EPSILON, Schedule

LDM = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}


def network(x: torch.Tensor, timestep: float) -> torch.Tensor:
    """Some smooth function of what a network sees."""
    return torch.tanh(1.3 * x + 0.2 * math.cos(timestep / 90)) + 0.1 * x.roll(1, -1)


def rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("noise", [LDM, {"beta_schedule": "linear"}, {"beta_schedule": "squaredcos_cap_v2"}])
def test_an_euler_step_is_exactly_a_ddim_step(prediction, noise):
    ddim = DDIMScheduler(**noise, prediction_type=prediction, clip_sample=False, set_alpha_to_one=False)
    ddim.set_timesteps(20)
    schedule = Schedule.from_config(dict(ddim.config))
    timesteps = [int(t) for t in ddim.timesteps if schedule.levels[t] <= schedule.last]
    assert len(timesteps) >= 12
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64)
    level = schedule.levels[timesteps[0]]
    state = x * math.hypot(1 - level, level) * schedule.scale
    for timestep in timesteps:
        seen = schedule.network_input(state, level)
        output = network(seen, schedule.timestep(level))
        below = schedule.levels[max(timestep - 50, 0)]
        state = state + (below - level) / schedule.last * schedule.velocity(output, state, level)
        x = ddim.step(network(x, timestep), timestep, x).prev_sample
        level = below
        assert rms(schedule.network_input(state, level) - x) < 2e-5 * rms(x)


def test_an_euler_step_of_a_flow_model_is_the_schedulers_own():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(10)
    schedule = Schedule.from_config(FLOW)
    state = x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    levels = [float(sigma) for sigma in scheduler.sigmas]
    for timestep, level, below in zip(scheduler.timesteps, levels, levels[1:], strict=False):
        assert schedule.timestep(level) == pytest.approx(float(timestep), rel=1e-6)
        x = scheduler.step(network(x, float(timestep)), timestep, x).prev_sample
        output = network(schedule.network_input(state, level), schedule.timestep(level))
        state = state + (below - level) * schedule.velocity(output, state, level)
    assert torch.allclose(state, x, atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_what_the_network_says_is_turned_into_noise_less_picture(prediction):
    """For outputs that are right, the velocity is n - z_0."""
    schedule = Schedule.from_config({**LDM, "prediction_type": prediction})
    generator = torch.Generator().manual_seed(1)
    picture, noise = torch.randn(2, 1, 4, 8, 8, generator=generator, dtype=torch.float64)
    for level in (0.04, 0.5, 0.9):
        size = math.hypot(1 - level, level)
        alpha, sigma = (1 - level) / size, level / size
        state = schedule.scale * ((1 - level) * picture + level * noise)
        assert torch.allclose(schedule.network_input(state, level), alpha * picture + sigma * noise)
        output = noise if prediction == "epsilon" else alpha * noise - sigma * picture
        velocity = schedule.velocity(output, state, level) / (schedule.last * schedule.scale)
        assert torch.allclose(velocity, noise - picture)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler, PNDMScheduler])
def test_whole_timesteps_keep_their_noise_and_others_lie_between(scheduler):
    schedule = Schedule.from_config(dict(scheduler(**LDM).config))
    alphas = scheduler(**LDM).alphas_cumprod.double().numpy()
    for timestep in (0, 1, 500, 900):
        level = schedule.levels[timestep]
        assert (1 - level) ** 2 / math.hypot(1 - level, level) ** 2 == pytest.approx(alphas[timestep], rel=1e-6)
        assert schedule.timestep(level) == pytest.approx(timestep, abs=1e-9)
    middle = (schedule.levels[500] + schedule.levels[501]) / 2
    assert schedule.timestep(middle) == pytest.approx(500.5)


def test_the_ends_of_time():
    epsilon = Schedule.from_config(LDM)
    assert epsilon.levels[-1] > epsilon.last == LAST_EPSILON
    assert epsilon.timestep(0.0) == 0.0
    stable = Schedule.from_config({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})
    assert stable.last == stable.levels[-1] < LAST_EPSILON
    assert stable.timestep(stable.last) == 999
    zero = Schedule.from_config({**LDM, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True})
    assert zero.last == pytest.approx(1.0, abs=1e-3)
    flow = Schedule.from_config(FLOW)
    assert (flow.last, flow.scale, flow.timestep(1.0)) == (1.0, 1.0, 1000.0)


def test_the_state_has_unit_noise_at_time_one():
    schedule = Schedule.from_config(LDM)
    generator = np.random.default_rng(1)
    picture, noise = generator.standard_normal((2, 100_000))
    state = schedule.scale * ((1 - schedule.last) * picture + schedule.last * noise)
    assert state.std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("config", [{**LDM, "prediction_type": "sample"}, {"beta_schedule": "unheard of"}])
def test_a_schedule_that_is_not_known_is_refused(config):
    with pytest.raises(ModelError):
        Schedule.from_config(config)
