import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from faceseal.evaluation.frechet import beside_real, frechet_distance


def samples(seed: int, count: int, dimensions: int, shift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, dimensions)) @ random.normal(size=(dimensions, dimensions)) + shift


@given(st.integers(0, 1000), st.integers(1, 12))
def test_it_is_the_textbook_formula(seed, dimensions):
    one, other = samples(seed, 40, dimensions), samples(seed + 1, 50, dimensions, 1.0)
    covariances = [np.cov(x, rowvar=False).reshape(dimensions, dimensions) for x in (one, other)]
    shift = one.mean(axis=0) - other.mean(axis=0)
    root = np.trace(np.real(sqrtm(covariances[0] @ covariances[1])))
    expected = shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(st.integers(0, 1000))
def test_with_fewer_samples_than_dimensions_it_is_still_symmetric_and_zero_for_the_same(seed):
    one, other = samples(seed, 8, 30), samples(seed + 1, 9, 30)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6 * (one**2).sum())
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    turn = ortho_group.rvs(30, random_state=seed)
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(frechet_distance(one, other))


def test_moving_one_set_adds_the_square_of_the_way():
    one = samples(0, 30, 5)
    assert frechet_distance(one, one + np.array([3, 0, 4, 0, 0])) == pytest.approx(25)


def test_one_sample_has_no_covariance():
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_what_is_made_differently_is_farther_from_real_than_real_is():
    random = np.random.default_rng(0)
    people = random.normal(size=(80, 6))
    first, second = (people + 0.1 * random.normal(size=people.shape) for _ in range(2))
    made, real = beside_real(first + 1.0, first, second, 5, np.random.default_rng(1))
    alike, same = beside_real(first, first, second, 5, np.random.default_rng(1))
    assert made > 3 * real
    assert alike == same == real
