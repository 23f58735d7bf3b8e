import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard
from scipy.stats import kstest

from faceseal.keyed import (
    KEYED_MAPS,
    ROTATION,
    SIGNFLIP,
    Keystream,
    draw_mixing,
    hadamard_blocks,
    mix,
    unmix,
)

KEY = bytes(range(32))
ALL_MAPS = pytest.mark.parametrize("keyed_map", KEYED_MAPS, ids=lambda m: m.name)


def gaussian(seed: int = 0, rows: int = 32, cells: int = 118) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, cells))


@ALL_MAPS
@given(
    rows=st.integers(1, 40), cells=st.integers(1, 256), seed=st.integers(0, 99), key=st.binary(min_size=32, max_size=32)
)
def test_the_inverse_undoes_the_map_for_every_shape_and_key(keyed_map, rows, cells, seed, key):
    noise = gaussian(seed, rows, cells)
    there = keyed_map.forward(noise, Keystream(key))
    assert np.abs(keyed_map.inverse(there, Keystream(key)) - noise).max() < 1e-5


@pytest.mark.parametrize("cells", [1, 2, 3, 64, 118, 256])
def test_mixing_is_an_orthogonal_map(cells):
    mixing = draw_mixing((1, cells), Keystream(KEY))
    matrix = np.concatenate([mix(row[None], mixing) for row in np.eye(cells)])
    assert np.allclose(matrix @ matrix.T, np.eye(cells), atol=1e-10)
    assert np.allclose(unmix(matrix[:1], mixing)[0], np.eye(cells)[0], atol=1e-10)


def test_blocks_are_walsh_hadamard_transforms_of_the_binary_digits_of_the_length():
    rows = gaussian(cells=22)
    expected = np.concatenate(
        [rows[:, :16] @ hadamard(16) / 4, rows[:, 16:20] @ hadamard(4) / 2, rows[:, 20:] @ hadamard(2) / np.sqrt(2)],
        axis=1,
    )
    assert np.allclose(hadamard_blocks(rows), expected)


@ALL_MAPS
def test_one_flipped_key_bit_flips_half_of_the_signs(keyed_map):
    noise = gaussian()
    one = keyed_map.forward(noise, Keystream(KEY))
    for bit in (0, 100, 255):
        key = bytearray(KEY)
        key[bit // 8] ^= 1 << bit % 8
        other = keyed_map.forward(noise, Keystream(bytes(key)))
        assert 0.46 < np.mean(np.sign(one) != np.sign(other)) < 0.54


@ALL_MAPS
def test_gaussian_noise_stays_gaussian(keyed_map):
    assert kstest(keyed_map.forward(gaussian(), Keystream(KEY)).ravel(), "norm").pvalue > 0.01


def test_sign_flips_show_every_magnitude_and_the_rotation_shows_none():
    noise = gaussian()
    flipped, rotated = (m.forward(noise, Keystream(KEY)) for m in (SIGNFLIP, ROTATION))
    assert np.array_equal(np.abs(flipped), np.abs(noise))
    assert abs(np.corrcoef(np.abs(rotated).ravel(), np.abs(noise).ravel())[0, 1]) < 0.05


def test_the_rotation_hides_each_components_energy():
    """A component that is much stronger than the others cannot be told afterwards."""
    noise = gaussian()
    noise[7] *= 1.6
    strongest = [
        np.argmax(np.linalg.norm(ROTATION.forward(noise, Keystream(bytes([k]) * 32)), axis=1)) for k in range(40)
    ]
    assert np.mean(np.array(strongest) == 7) < 0.25


def test_an_error_of_the_carrier_does_not_grow():
    noise, error = gaussian(), 0.01 * gaussian(1)
    there = ROTATION.forward(noise, Keystream(KEY))
    back = ROTATION.inverse(there + error, Keystream(KEY))
    assert np.linalg.norm(back - noise) < 1.1 * np.linalg.norm(error)


def test_the_keystream_is_chacha20_of_rfc_8439():
    """Appendix A.1, test vector 1: key, nonce and counter all zero."""
    first = Keystream(bytes(32)).integers(2)
    assert first.tobytes().hex() == "76b8e0ada0f13d90405d6ae55386bd28"


def test_uniform_and_normal_numbers_are_what_they_are_called():
    assert kstest(Keystream(KEY).uniform(4000), "uniform").pvalue > 0.01
    assert kstest(Keystream(KEY).normal(4000), "norm").pvalue > 0.01


@ALL_MAPS
def test_the_estimate_is_the_inverse_where_errors_are_small(keyed_map):
    noise, key = gaussian(3, 32, 120) * np.exp(np.random.default_rng(4).normal(0, 0.15, (32, 1))), bytes(32)
    there = keyed_map.forward(noise, Keystream(key))
    assert np.abs(keyed_map.estimate(there, Keystream(key)) - noise).max() < 1e-5


def test_large_errors_of_the_carrier_grow_less_in_the_estimate_than_in_the_inverse():
    random = np.random.default_rng(5)
    scale = np.exp(random.normal(0, 0.15, (32, 1)))
    errors: dict[str, list[float]] = {"estimate": [], "inverse": []}
    for number in range(40):
        noise, key = gaussian(number, 32, 120) * scale, bytes([number]) * 32
        # As JPEG does: the components from the strongest to the faintest lose ever more.
        lost = np.linspace(0.2, 1.0, 32)[:, None]
        there = ROTATION.forward(noise, Keystream(key))
        coded = there * (1 - lost / 3) + lost * random.normal(0, 0.5, there.shape)
        for name in errors:
            back = getattr(ROTATION, name)(coded, Keystream(key))
            errors[name].append(float(np.sqrt(np.mean((back - noise) ** 2))))
    assert max(errors["estimate"]) < 0.8
    assert np.median(errors["estimate"]) < 0.75 * np.median(errors["inverse"])


def test_the_norm_of_the_radii_does_not_show_whose_they_were():
    random = np.random.default_rng(6)
    faces = [gaussian(n, 32, 120) * np.exp(random.normal(0, 0.09 * (1 + n % 3 / 2), (32, 1))) for n in range(60)]

    def norm(noise: np.ndarray) -> float:
        return float(np.log(np.linalg.norm(np.log(np.linalg.norm(noise, axis=1) / np.sqrt(120)))))

    before = [norm(face) for face in faces]
    after = [norm(ROTATION.forward(face, Keystream(random.bytes(32)))) for face in faces]
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.35


def test_what_a_key_draws_stays_what_it_was():
    """Files that were sealed are restored with it."""
    stream = Keystream(KEY)
    assert stream.uniform(2) == pytest.approx([0.41445576247967597, 0.2862985563615571], abs=1e-15)
    assert stream.signs(8).tolist() == [1, 1, 1, -1, -1, -1, 1, -1]
    assert stream.normal(2) == pytest.approx([-0.3563909204339281, -0.3553506775154644], abs=1e-12)
    noise = np.cos(np.arange(32 * 11.0)).reshape(32, 11)
    rotated = ROTATION.forward(noise, Keystream(KEY))
    assert rotated[0, :3] == pytest.approx([0.3088731050352753, 0.19628627358615022, 0.2965706208500359], abs=1e-9)
    assert rotated[31, -2:] == pytest.approx([-1.0311172122850312, 0.1651416413901849], abs=1e-9)
    flipped = SIGNFLIP.forward(noise, Keystream(KEY))
    assert flipped[31, -2:] == pytest.approx([-0.28363327918216646, 0.6536664338884767], abs=1e-12)
