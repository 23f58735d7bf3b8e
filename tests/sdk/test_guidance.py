"""Guidance: what may be asked for, the perturbed network, and the way that leads away from it."""

import io
import threading
from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer import anonymize, read_sealed
from faceseal.anonymizer.generator import default_model, exchange_with, guidance_of
from faceseal.errors import ModelError
from faceseal.evaluation.trial import MemoryKeys
from faceseal.guidance import UNGUIDED, Guidance
from faceseal.model import LANDMARKS, Condition, VelocityNetwork
from faceseal.perturbed_attention import guided, make_perturbable, second_half_perturbed
from faceseal.profiles import FAST, PROFILES


class Unguidable:
    """What a model of another make has, as far as it matters here."""

    name, linear = "another make", True


def condition(faces: int = 2) -> Condition:
    random = torch.Generator().manual_seed(1)
    mask = torch.zeros(faces, 1, 16, 16)
    mask[:, :, 3:13, 4:12] = 1
    background = torch.randn(faces, 32, 16, 16, generator=random) * (1 - mask)
    return Condition(background, mask, torch.rand(faces, LANDMARKS, 16, 16, generator=random))


def states(faces: int = 2) -> torch.Tensor:
    return torch.randn(faces, 32, 16, 16, generator=torch.Generator().manual_seed(2)) * condition(faces).mask


def layer() -> Attention:
    torch.manual_seed(0)
    made = Attention(32, heads=2, dim_head=16, residual_connection=True)
    make_perturbable(made)
    return made


@pytest.mark.parametrize(
    "settings",
    [
        (0.9, 0.8, 0.2),
        (5.1, 0.8, 0.2),
        (1.6, 0.8, -0.1),
        (1.6, 1.1, 0.2),
        (1.6, 0.2, 0.8),
        (1.65, 0.8, 0.2),
        (1.6, 0.8, 0.205),
        (1.6, 0.805, 0.2),
    ],
)
def test_guidance_that_a_header_cannot_hold_is_refused(settings):
    with pytest.raises(ValueError, match="guidance's settings"):
        Guidance(*settings)


def test_guidance_keeps_to_its_times_and_none_never_begins():
    times = (1.0, 0.81, 0.8, 0.5, 0.2, 0.19)
    assert [Guidance(1.6, 0.8, 0.2).at(time) for time in times] == [False, False, True, True, True, False]
    assert not UNGUIDED.at(1.0)


def test_every_profile_guides():
    assert all(profile.guidance.active for profile in PROFILES.values())


@torch.inference_mode()
def test_in_the_second_half_of_a_batch_each_position_attends_to_itself_alone():
    attention, states = layer(), torch.randn(2, 9, 32)
    changed = states.clone()
    changed[:, 4] += 1
    with second_half_perturbed():
        moved = (attention(changed) - attention(states)).abs().amax(dim=2) > 1e-6
    assert moved[0].all()
    assert moved[1].tolist() == [False] * 4 + [True] + [False] * 4


@torch.inference_mode()
def test_without_it_and_in_the_first_half_the_network_is_what_it_was():
    network = VelocityNetwork().eval()
    state, time, known = states(), torch.full((2,), 0.6), condition().stacked()
    before = network(state, time, known)
    make_perturbable(network)
    assert torch.equal(network(state, time, known), before)
    with second_half_perturbed():
        halves = network(state.repeat(2, 1, 1, 1), time.repeat(2), known.repeat(2, 1, 1, 1))
    assert torch.allclose(halves[:2], before, atol=1e-4)
    assert not torch.allclose(halves[2:], before, atol=1e-2)
    assert torch.equal(network(state, time, known), before)


@torch.inference_mode()
def test_another_thread_is_not_perturbed():
    attention, states, seen = layer(), torch.randn(2, 9, 32), []
    plain = attention(states)
    with second_half_perturbed():
        other = threading.Thread(target=lambda: seen.append(attention(states)))
        other.start()
        other.join()
    assert torch.equal(seen[0], plain)


@torch.inference_mode()
def test_an_error_inside_does_not_leave_the_network_perturbed():
    attention, states = layer(), torch.randn(2, 9, 32)
    plain = attention(states)
    with pytest.raises(RuntimeError), second_half_perturbed():
        attention(torch.randn(2, 9, 31))
    assert torch.equal(attention(states), plain)


def test_guiding_goes_away_from_the_perturbed_velocity_and_never_along_the_expected_picture():
    random = torch.Generator().manual_seed(3)
    usual, perturbed, state = torch.randn(3, 2, 32, 16, 16, generator=random)
    assert torch.equal(guided(usual, perturbed, state, 0.5, 1.0), usual)
    added = guided(usual, perturbed, state, 0.5, 1.6) - usual
    expected = state - 0.5 * usual
    for one, picture, away in zip(added, expected, usual - perturbed, strict=True):
        assert abs(float((one * picture).sum())) < 1e-3 * float(one.norm() * picture.norm())
        assert float((one * away).sum()) > 0
    twice = guided(usual, perturbed, state, 0.5, 2.2) - usual
    assert torch.allclose(twice, 2 * added, atol=1e-5)


def test_guiding_where_no_picture_is_expected_changes_nothing_but_by_what_it_is_guided_away_from():
    zero, away = torch.zeros(1, 32, 16, 16), torch.ones(1, 32, 16, 16)
    assert torch.equal(guided(zero, -away, zero, 0.5, 1.5), 0.5 * away)


@torch.inference_mode()
def test_the_guided_velocity_is_zero_outside_the_mask_and_differs_inside():
    model, known = default_model(), condition()
    velocity = model.guided_velocity(states(), 0.5, known, 1.6)
    assert torch.equal(velocity * (1 - known.mask), torch.zeros_like(velocity))
    assert not torch.allclose(velocity, model.velocity(states(), 0.5, known), atol=0.01)


@torch.inference_mode()
def test_what_lies_outside_the_mask_in_the_state_does_not_guide():
    model, known, state = default_model(), condition(), states()
    noisy = state + 1e-6 * (1 - known.mask)
    one, other = (model.guided_velocity(each, 0.5, known, 1.6) for each in (state, noisy))
    assert torch.allclose(one, other, atol=1e-3)


def test_a_model_that_cannot_guide_is_used_without_and_refuses_to():
    model = Unguidable()
    assert guidance_of(model, Guidance(1.6, 0.8, 0.2)) == UNGUIDED
    assert exchange_with(model, FAST.solver, 1).guidance == UNGUIDED
    with pytest.raises(ModelError, match="another make cannot guide"):
        exchange_with(model, FAST.solver, 1, Guidance(1.6, 0.8, 0.2))


def test_a_sealed_file_names_the_guidance_of_its_profile():
    buffer = io.BytesIO()
    Image.fromarray(astronaut()[0:256, 100:356]).save(buffer, "png")
    sealed = anonymize(buffer.getvalue(), keys=MemoryKeys(), profile=FAST)
    assert read_sealed(sealed.content).header.guidance == FAST.guidance


def test_the_network_is_told_of_the_lips_louder_and_the_perturbed_one_not_at_all():
    told = []

    class Listening(torch.nn.Module):
        def forward(self, state, _time, stacked):
            told.append(stacked)
            return torch.zeros_like(state)

    known = condition()
    with torch.inference_mode():
        replace(default_model(), network=Listening()).guided_velocity(states(), 0.5, known, 1.6)
    lips = known.stacked().shape[1] - 2
    for half, times in zip(told[0].chunk(2), (1.5, 0.0), strict=True):
        assert torch.equal(half[:, :lips], known.stacked()[:, :lips])
        assert torch.equal(half[:, lips:], times * known.stacked()[:, lips:])
