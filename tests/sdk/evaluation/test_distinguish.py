import numpy as np
import pytest
import torch

from faceseal.evaluation.distinguish import convolutional_network, distinguishability, linear_svm


def random_squares(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (count, 128, 128, 3)).astype(np.uint8)


def test_embeddings_that_lie_apart_are_told_apart():
    random = np.random.default_rng(0)
    made, real = random.normal(size=(40, 20)) + 3, random.normal(size=(40, 20))
    found = distinguishability(made, real, linear_svm, np.random.default_rng(1))
    assert (found.count, found.of) == (80, 80)


def test_embeddings_of_one_kind_are_told_apart_by_chance_only():
    random = np.random.default_rng(0)
    made, real = random.normal(size=(200, 20)), random.normal(size=(200, 20))
    low, high = distinguishability(made, real, linear_svm, np.random.default_rng(1)).interval
    assert low < 0.5 < high


def test_nobody_is_asked_about_who_was_learned():
    asked: list[set[float]] = []

    def judge(samples, labels, others):
        assert not set(samples[:, 0]) & set(others[:, 0])
        assert labels.sum() * 2 == len(labels)
        asked.append(set(others[:, 0]))
        return np.zeros(len(others), dtype=bool)

    people = np.arange(7.0)
    found = distinguishability(people[:, None], people[:, None] + 0.5, judge, np.random.default_rng(0))
    assert (found.count, found.of) == (7, 14)
    assert asked[0] | asked[1] == set(people) | set(people + 0.5)


def test_a_network_sees_a_fine_pattern_that_embeddings_might_not():
    made, real = random_squares(0, 12), random_squares(1, 12)
    made[:, ::8] //= 2
    found = distinguishability(made, real, convolutional_network, np.random.default_rng(0))
    assert found.value > 0.9


def test_training_leaves_the_random_state_as_it_was_and_repeats_itself():
    before = torch.random.get_rng_state()
    squares, labels = random_squares(2, 8), np.arange(8) < 4
    answers = [convolutional_network(squares, labels, squares) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(*answers)


def test_one_person_cannot_be_halved():
    with pytest.raises(ValueError, match="two people"):
        distinguishability(np.zeros((1, 3)), np.zeros((1, 3)), linear_svm, np.random.default_rng(0))
