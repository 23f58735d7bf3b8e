from dataclasses import replace

import numpy as np
import pytest
import torch
from held_keys import portrait
from PIL import Image
from skimage.data import astronaut

from faceseal import carrier, ode
from faceseal.anonymizer.generator import default_model
from faceseal.exchange import Exchange, Face
from faceseal.faces.detector import detect_faces
from faceseal.guidance import UNGUIDED, Guidance
from faceseal.keyed import KEYED_MAPS, ROTATION, Keystream
from faceseal.profiles import FAST

MASK = np.zeros((16, 16), dtype=bool)
MASK[3:15, 3:13] = True
LANDMARKS = np.array([[4.7, 4.7], [10.9, 4.7], [7.9, 8.2], [5.3, 11.0], [10.5, 11.0], [7.9, 10.6], [7.9, 11.3]])


def face(cell: int = 8, seed: int = 1) -> Face:
    head = Image.fromarray(astronaut()[40:168, 160:288]).resize((16 * cell, 16 * cell), Image.Resampling.LANCZOS)
    inside = np.ones((16, 16), dtype=bool)
    return Face(np.asarray(head), MASK, inside, LANDMARKS, bytes([seed]) * 32, bytes([7]) * 32)


def exchange(keyed_map=ROTATION, guidance=FAST.guidance) -> Exchange:
    return Exchange(default_model(), ode.Solver(**vars(FAST.solver)), keyed_map, guidance=guidance)


def decibel(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


def same_face(one: np.ndarray, other: np.ndarray, mask: np.ndarray = MASK) -> bool:
    """Whether two squares carry the same latent; what else is in their pixels may differ in the last bit."""
    codec = default_model().codec(one.shape[0] // 16)
    return np.abs(codec.encode(one[None]) - codec.encode(other[None]))[0][:, mask].mean() < 0.005


@pytest.mark.parametrize("keyed_map", KEYED_MAPS, ids=lambda m: m.name)
def test_restoring_the_8_bit_square_returns_the_face_and_another_key_does_not(keyed_map):
    original, machine = face(), exchange(keyed_map)
    (made,) = machine.anonymize([original])
    sealed = replace(original, square=made)
    (right,) = machine.restore([sealed])
    (wrong,) = machine.restore([replace(sealed, stream_key=bytes(32))])
    inside = original.masked_pixels
    best = machine.carried(original)[inside]
    assert made.dtype == np.uint8
    assert decibel(best, right[inside]) > 30
    assert decibel(best, wrong[inside]) < 25
    assert decibel(best, made[inside]) < 25


@pytest.mark.parametrize("cell", [4, 7, 8, 13, 32, 64])
def test_pixels_outside_the_mask_never_change(cell):
    original = face(cell)
    (made,) = exchange().anonymize([original])
    outside = ~original.masked_pixels
    assert np.array_equal(made[outside], original.square[outside])
    assert not np.array_equal(made, original.square)


def test_a_guided_face_is_less_surprising_than_one_that_is_not():
    faces = [face(seed=seed) for seed in range(1, 5)]
    surprise = []
    for guidance in (replace(FAST.guidance, shift=0.0), UNGUIDED):
        machine = exchange(guidance=guidance)
        latents = machine.anonymous(machine.mapped(machine.noise(faces), faces), faces)
        surprise.append(machine.surprise(latents, faces))
    assert (surprise[0] < surprise[1]).all()


def test_a_shifted_face_has_more_of_the_detail_that_faces_have():
    faces = [face(seed=seed) for seed in range(1, 5)]
    detail = []
    for guidance in (FAST.guidance, replace(FAST.guidance, shift=0.0)):
        machine = exchange(guidance=guidance)
        latents = machine.anonymous(machine.mapped(machine.noise(faces), faces), faces)
        inside = np.stack([one.mask for one in faces])
        detail.append(latents.transpose(0, 2, 3, 1)[inside][:, 3:].std(axis=0))
    assert (detail[0] > detail[1]).all()


def test_guided_faces_are_restored_with_their_guidance_only():
    originals, inside = [face(seed=seed) for seed in range(2, 6)], face().masked_pixels
    sealed = [replace(f, square=made) for f, made in zip(originals, exchange().anonymize(originals), strict=True)]
    best = [exchange().carried(f)[inside] for f in originals]

    def fidelity(guidance: Guidance) -> float:
        restored = exchange(guidance=guidance).restore(sealed)
        return float(np.mean([decibel(b, square[inside]) for b, square in zip(best, restored, strict=True)]))

    right = fidelity(FAST.guidance)
    for wrong in (replace(FAST.guidance, shift=0.0), replace(FAST.guidance, strength=1.4), UNGUIDED):
        assert right > fidelity(wrong) + 5


def test_the_ode_is_guided_between_the_stated_times_only():
    faces, machine = [face()], exchange()
    plain, guided = machine.velocity(faces), machine.velocity(faces, Guidance(1.6, 0.8, 0.5))
    with torch.inference_mode():
        state = machine.tensor(machine.latents(faces)) * machine.mask(faces)
        for time in (0.49, 0.81):
            assert torch.equal(plain(state, time), guided(state, time))
        for time in (0.5, 0.8):
            assert not torch.allclose(plain(state, time), guided(state, time), atol=0.01)


def test_small_faces_are_restored_within_what_their_cells_carry():
    original, machine = face(cell=4), exchange()
    (made,) = machine.anonymize([original])
    (right,) = machine.restore([replace(original, square=made)])
    inside = original.masked_pixels
    assert decibel(machine.carried(original)[inside], right[inside]) > 28


def test_a_batch_gives_each_face_what_it_gets_alone():
    one, other, machine = face(seed=1), face(cell=5, seed=2), exchange()
    together = machine.anonymize([one, other])
    alone = machine.anonymize([other])
    assert same_face(together[1], alone[0])
    assert not same_face(together[1], other.square)


def test_a_face_shows_nothing_of_its_key():
    assert "stream_key" not in repr(face())


def test_cells_beyond_the_photo_do_not_matter():
    """What the edge's pixels are continued by differs between sealing and restoring."""
    inside = np.ones((16, 16), dtype=bool)
    inside[:, :5] = False
    original = replace(face(), inside=inside, mask=MASK & inside)
    noise = np.random.default_rng(0).integers(0, 256, original.square.shape, dtype=np.uint8)
    beyond = np.repeat(np.repeat(~inside, 8, axis=0), 8, axis=1)[..., None]
    changed = replace(original, square=np.where(beyond, noise, original.square))
    (one,), (other,) = exchange().anonymize([original]), exchange().anonymize([changed])
    assert same_face(one, other, original.mask)
    assert not same_face(one, original.square, original.mask)


def test_one_inversion_serves_any_number_of_keys():
    one, other, machine = face(seed=1), face(seed=2), exchange()
    noise = machine.noise([one])
    latents = [machine.anonymous(machine.mapped(noise, [keyed]), [keyed]) for keyed in (one, other)]
    made = [machine.shown(z, [keyed], carrying=True)[0] for z, keyed in zip(latents, (one, other), strict=True)]
    alone = [machine.anonymize([keyed])[0] for keyed in (one, other)]
    assert same_face(made[0], alone[0])
    assert same_face(made[1], alone[1])
    assert not same_face(made[0], made[1])
    assert decibel(made[0][one.masked_pixels], made[1][one.masked_pixels]) < 25


@pytest.mark.parametrize("cell", [4, 8])
def test_mapping_the_noise_back_returns_it(cell):
    faces, machine = [face(cell), face(cell, seed=2)], exchange()
    noise = machine.noise(faces)
    mapped = machine.mapped(noise, faces)
    assert np.abs(mapped - noise).mean() > 0.1
    assert np.abs(machine.mapped(mapped, faces, inverse=True) - noise).max() < 1e-5


def test_grain_is_drawn_from_a_keystream_of_its_own(monkeypatch):
    streams = []
    monkeypatch.setattr(carrier, "write", lambda *parts: streams.append(parts[-1]) or parts[2])
    exchange().shown(np.zeros((2, 32, 16, 16)), [face(seed=1), face(seed=2)], carrying=True)
    first, second = (stream.integers(4).tolist() for stream in streams)
    assert first != second
    for key in (face().stream_key, face().public_seed):
        assert Keystream(key).integers(4).tolist() != first


def test_the_new_face_has_eyes_nose_and_mouth_where_the_landmarks_say():
    photo = portrait().copy()
    (photo[40:168, 64:192],) = exchange().anonymize([face()])
    (found,) = detect_faces(photo)
    assert np.abs(found.landmarks - (LANDMARKS[:5] * 8 + [64, 40])).max() < 12
