import numpy as np
import pytest
import torch

from faceseal.anonymizer.generator import default_model
from faceseal.errors import ModelError
from faceseal.model import LANDMARKS, Condition, VelocityNetwork, landmark_maps, load_model, save_model
from faceseal.weights import PACKAGED


def test_a_saved_model_comes_back_with_its_latent_and_a_digest_of_its_bytes(tmp_path):
    klt = default_model().klt
    path = tmp_path / "model.safetensors"
    save_model(path, VelocityNetwork(), klt, "test")
    one, two = load_model(path), load_model(path)
    assert one.name == "test"
    assert one.digest == two.digest != default_model().digest
    assert np.array_equal(one.klt.basis, klt.basis)
    assert np.array_equal(one.klt.mean, klt.mean)


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "truncated", "foreign"])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    if damage == "foreign":
        import safetensors.torch

        safetensors.torch.save_file({"x": torch.zeros(3)}, path)
    elif damage != "missing":
        whole = PACKAGED.read_bytes()
        path.write_bytes({"empty": b"", "garbage": b"not a model" * 99, "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_the_velocity_is_zero_outside_the_mask():
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 4:12, 4:12] = 1
    condition = Condition(torch.randn(1, 32, 16, 16) * (1 - mask), mask, torch.zeros(1, LANDMARKS, 16, 16))
    velocity = default_model().velocity(torch.randn(1, 32, 16, 16) * mask, 0.5, condition)
    assert velocity.shape == (1, 32, 16, 16)
    assert torch.equal(velocity * (1 - mask), torch.zeros_like(velocity))
    assert velocity.abs().max() > 0


def test_landmark_maps_peak_at_the_landmark_and_vanish_without_one():
    points = torch.tensor([[[4.5, 9.5], [10.5, 2.5], [0.0, 0.0], [20.0, 5.0], [float("nan"), float("nan")]]])
    maps = landmark_maps(points)[0]
    assert maps[0, 9, 4] == 1.0
    assert maps[1, 2, 10] == 1.0
    assert maps[2].argmax() == 0
    assert maps[3].max() < 0.01
    assert maps[4].max() == 0


def test_the_packaged_model_is_what_the_protocol_asks_for():
    model = default_model()
    codec = model.codec(9)
    square = np.random.default_rng(0).integers(0, 256, (2, 144, 144, 3), dtype=np.uint8)
    latent = codec.encode(square)
    assert latent.shape == (2, model.channels, model.side, model.side)
    assert codec.decode(latent).shape == square.shape
    assert codec.subspace.shape == (model.channels, codec.rank)
    assert (codec.cell, model.side % 16, len(model.digest)) == (9, 0, 32)


def test_the_background_knows_nothing_of_the_mask_and_of_what_lies_beyond_the_photo():
    codec, generator = default_model().codec(4), np.random.default_rng(0)
    square = generator.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    mask, inside = np.zeros((1, 16, 16), dtype=bool), np.ones((1, 16, 16), dtype=bool)
    mask[:, 4:12, 4:12], inside[:, :, :2] = True, False
    hidden = (mask | ~inside).repeat(4, axis=1).repeat(4, axis=2)
    other = np.where(hidden[..., None], generator.integers(0, 256, square.shape, dtype=np.uint8), square)
    background = codec.background(square, mask, inside)
    assert np.array_equal(background, codec.background(other, mask, inside))
    assert not background[:, :, mask[0]].any()
    assert background[:, :, 8, 3].any()
