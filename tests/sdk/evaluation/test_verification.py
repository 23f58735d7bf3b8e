import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from faceseal.evaluation.verification import (
    Share,
    closenesses,
    cosines,
    impostors,
    roc,
    share,
    threshold_at,
)

scores = arrays(np.float64, st.integers(1, 300), elements=st.floats(-1, 1))
fars = st.floats(0, 1)


@given(scores, fars)
def test_at_the_threshold_no_more_impostors_pass_than_allowed(impostor_scores, far):
    assert np.mean(impostor_scores > threshold_at(impostor_scores, far)) <= far + 1e-9


@given(scores, fars)
def test_any_lower_threshold_would_let_too_many_impostors_pass(impostor_scores, far):
    threshold = threshold_at(impostor_scores, far)
    passing = np.mean(impostor_scores >= threshold)
    assert passing > far or threshold == impostor_scores.min()


def test_a_thousand_impostors_at_one_in_a_thousand_let_exactly_one_pass():
    impostor_scores = np.random.default_rng(0).normal(size=1000)
    assert (impostor_scores > threshold_at(impostor_scores, 1e-3)).sum() == 1


def test_a_threshold_without_impostors_is_refused():
    with pytest.raises(ValueError, match="two people"):
        threshold_at(np.array([]), 1e-3)


@given(scores, scores)
def test_a_curve_never_falls_and_ends_where_all_but_the_weakest_pass(genuine, impostor_scores):
    curve = roc(genuine, impostor_scores, np.linspace(0, 1, 11))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == np.mean(genuine > impostor_scores.min())


def test_clearly_separated_scores_are_all_told_apart():
    assert roc(np.full(20, 0.9), np.full(400, 0.1), np.array([1e-3, 1e-2])).tolist() == [1.0, 1.0]


def test_every_person_meets_every_other_as_an_impostor_once():
    matrix = np.arange(25.0).reshape(5, 5)
    assert sorted(impostors(matrix)) == sorted(set(matrix.ravel()) - set(np.diag(matrix)))


@given(arrays(np.float64, (4, 6), elements=st.floats(-3, 3)), arrays(np.float64, (5, 6), elements=st.floats(-3, 3)))
def test_closeness_is_the_negative_distance(one, other):
    expected = -np.linalg.norm(one[:, None] - other[None], axis=2)
    assert np.allclose(closenesses(one, other), expected, atol=1e-6)


def test_cosines_do_not_depend_on_length():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 8))
    assert np.allclose(cosines(5 * one, other), cosines(one, 0.1 * other))
    assert np.allclose(np.diag(cosines(one, one)), 1.0)


def test_wilsons_interval_has_its_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for count, of, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert Share(count, of).interval == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_a_share_lies_within_its_interval(case):
    found = Share(*case)
    low, high = found.interval
    assert 0 <= low <= found.value + 1e-12
    assert found.value - 1e-12 <= high <= 1


def test_a_share_of_nothing_is_no_number():
    assert math.isnan(share(np.array([], dtype=bool)).value)
    assert all(math.isnan(end) for end in Share(0, 0).interval)
