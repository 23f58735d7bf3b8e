"""Linkage of synthetic noise under the real maps, and under weaker ones that leave something."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer.generator import exchange_with
from faceseal.errors import TrainingDataError
from faceseal.evaluation import linkagereport as report
from faceseal.evaluation.inversion import BATCH, common_mask, evenly_chosen, invert_squares
from faceseal.evaluation.linkage import (
    LinkageFigures,
    Question,
    count_nearer,
    linkage_figures,
    norm_periods,
    under_random_keys,
)
from faceseal.evaluation.noisefeatures import FEATURES
from faceseal.keyed import (
    KEYED_MAPS,
    PHOTO_RADIUS_SPREAD,
    ROTATION,
    SIGNFLIP,
    KeyedMap,
    Keystream,
    draw_mixing,
    mix,
    mix_radii,
)
from faceseal.model import load_model
from faceseal.profiles import FAST
from faceseal.training.data import FaceSquares

FACES, COMPONENTS, CELLS = 120, 32, 100
GAUSSIAN_SPREAD = 1 / np.sqrt(2 * CELLS)
LANDMARKS = np.array([[37.0, 37], [87, 37], [62, 65], [42, 88], [84, 88], [63, 85], [63, 91]])


def gaussian(seed: int = 0, faces: int = FACES) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(faces, COMPONENTS, CELLS))


def as_of_photos(seed: int = 0, faces: int = FACES, unusual: int = 0) -> np.ndarray:
    """Heavy-tailed, each face's components of unequal strength, `unusual` faces far more so than the others."""
    random = np.random.default_rng(seed)
    noise = random.standard_t(6, size=(faces, COMPONENTS, CELLS)) / np.sqrt(1.5)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True) / np.sqrt(CELLS)
    spread = PHOTO_RADIUS_SPREAD * np.exp(random.normal(0, 0.15, (faces, 1, 1)))
    spread[:unusual] *= 3.5
    return noise * np.exp(spread * random.normal(size=(faces, COMPONENTS, 1)))


def figures_of(noise: np.ndarray, *maps: KeyedMap, seed: int = 0) -> LinkageFigures:
    return linkage_figures(noise, maps, PHOTO_RADIUS_SPREAD, np.random.default_rng(seed))


def shares(figures: LinkageFigures, question: Question = Question.ORIGINAL) -> dict[str, float]:
    return {linked.feature: linked.first.value for linked in figures.linkages if linked.question == question}


@pytest.mark.parametrize("noise", [gaussian(), as_of_photos()], ids=["gaussian", "photos"])
def test_sign_flips_are_always_linked_to_the_original_and_across_keys(noise):
    figures = figures_of(noise, SIGNFLIP)
    assert len(figures.linkages) == len(Question) * len(FEATURES)
    for linked in figures.linkages:
        assert (linked.first.count, linked.first.of, linked.mean_rank) == (FACES, FACES, 0.0)


def test_the_rotation_is_linked_no_more_often_than_by_guessing():
    figures = figures_of(as_of_photos(), ROTATION)
    assert figures.outside.count == 0
    for linked in figures.linkages:
        assert linked.first.value < 0.05
        assert abs(linked.mean_rank - 0.5) < 0.1


def test_the_rotation_of_perfect_noise_shows_no_magnitude():
    figures = figures_of(gaussian(), ROTATION)
    for linked in figures.linkages:
        assert linked.first.value < 0.05
        if "magnitudes" in linked.feature or linked.feature == "norm":
            assert abs(linked.mean_rank - 0.5) < 0.1


def without_shift(noise: np.ndarray, stream: Keystream) -> np.ndarray:
    cells, rows = draw_mixing(noise.shape, stream), draw_mixing((1, len(noise)), stream)
    return mix_radii(mix(noise, cells), lambda radii: mix(radii, rows), (PHOTO_RADIUS_SPREAD, GAUSSIAN_SPREAD))


def within_components(noise: np.ndarray, stream: Keystream) -> np.ndarray:
    return mix(noise, draw_mixing(noise.shape, stream))


def of_components(noise: np.ndarray, stream: Keystream) -> np.ndarray:
    mixed = within_components(noise, stream)
    return mixed[np.argsort(stream.integers(len(noise)))]


def of_cells(noise: np.ndarray, stream: Keystream) -> np.ndarray:
    return np.take_along_axis(noise, np.argsort(stream.integers(*noise.shape), axis=1), axis=1)


def of_all(noise: np.ndarray, stream: Keystream) -> np.ndarray:
    return mix(noise.reshape(1, -1), draw_mixing((1, noise.size), stream)).reshape(noise.shape)


@pytest.mark.parametrize(
    ("weaker", "seen", "hidden"),
    [
        (of_cells, {"sorted magnitudes", "radii", "sorted radii", "norm", "norm of log radii"}, {"magnitudes"}),
        (within_components, {"radii", "sorted radii", "norm", "norm of log radii"}, {"magnitudes"}),
        (of_components, {"sorted radii", "norm", "norm of log radii"}, {"magnitudes", "radii"}),
        (of_all, {"norm"}, {"magnitudes", "sorted magnitudes", "radii", "sorted radii"}),
        (without_shift, {"norm of log radii"}, {"magnitudes", "sorted magnitudes", "radii", "sorted radii", "norm"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_feature_sees_what_a_weaker_map_leaves(weaker, seen, hidden):
    noise = as_of_photos()
    figures = figures_of(noise, KeyedMap("weaker", weaker, weaker, weaker))
    for question in Question:
        found = shares(figures, question)
        assert all(found[name] > 0.25 for name in seen), found
        assert all(found[name] < 0.25 for name in hidden), found


def test_ties_count_half_and_nobody_is_first_among_equals():
    gallery = np.array([[0.0], [1.0], [1.0], [3.0]])
    probes = np.array([[0.1], [1.0], [1.4], [9.0]])
    assert count_nearer(gallery, probes).tolist() == [0, 0.5, 0.5, 0]
    assert count_nearer(np.ones((5, 2)), np.ones((5, 2))).tolist() == [2] * 5
    assert count_nearer(gallery, probes[::-1]).tolist() == [3, 0.5, 0.5, 3]


def test_the_period_of_the_norm_is_all_that_the_rotation_shows_of_unusual_faces():
    noise = as_of_photos(unusual=6)
    before = norm_periods(noise, PHOTO_RADIUS_SPREAD)
    after = norm_periods(under_random_keys(noise, ROTATION, np.random.default_rng(1)), GAUSSIAN_SPREAD)
    assert np.array_equal(before, after)
    assert np.array_equal(np.flatnonzero(before), np.arange(6))
    figures = figures_of(noise, ROTATION)
    ranks = {linked.feature: linked.outside_rank for linked in figures.linkages if linked.question == Question.ORIGINAL}
    assert figures.outside.count == 6
    assert ranks["norm of log radii"] < 0.15 < ranks["magnitudes"]


def test_curves_begin_with_the_share_found_first_and_end_with_all():
    figures = figures_of(as_of_photos(), *KEYED_MAPS)
    assert (figures.ranks[0], figures.ranks[-1]) == (1, FACES)
    for linked in figures.linkages:
        assert linked.curve[0] == linked.first.value
        assert linked.curve[-1] == 1.0
        assert np.all(np.diff(linked.curve) >= 0)


def test_the_seed_alone_decides_the_figures():
    noise = as_of_photos(faces=30)
    assert figures_of(noise, ROTATION, seed=3) == figures_of(noise, ROTATION, seed=3)
    assert figures_of(noise, ROTATION, seed=3) != figures_of(noise, ROTATION, seed=4)


def test_the_report_has_a_line_for_each_map_question_and_feature():
    figures = figures_of(as_of_photos(unusual=2), *KEYED_MAPS)
    rows = report.table(figures)
    assert [row[:2] for row in rows] == [(m.name, feature) for m in KEYED_MAPS for feature in FEATURES]
    assert {len(row) for row in rows} == {len(report.HEADER)}
    lines = list(csv.DictReader(io.StringIO(report.as_csv(figures).decode())))
    assert len(lines) == 2 * len(rows)
    assert (lines[0]["map"], lines[0]["share"], lines[0]["mean rank"]) == ("signflip", "1.0", "0.0")
    content = json.loads(report.as_json(figures, "Model x"))
    assert content["chance"] == pytest.approx(1 / FACES)
    assert content["figures"]["linkages"][0]["first"]["interval"][1] == 1.0
    assert any("rotation 0.0" in note for note in content["notes"])
    with Image.open(io.BytesIO(report.linkage_plot(figures))) as picture:
        assert min(picture.size) > 500


def test_without_unusual_faces_nothing_is_said_of_them():
    figures = figures_of(as_of_photos(faces=20), ROTATION)
    assert figures.outside.count == 0
    assert not any("Their mean rank" in note for note in report.notes(figures, "Model x"))
    assert "mean rank outside" in report.as_csv(figures).decode().splitlines()[0]
    empty = replace(figures.linkages[0], outside_rank=None)
    assert report.as_csv(replace(figures, linkages=(empty,))).decode().splitlines()[1].endswith(",")


def squares(count: int) -> FaceSquares:
    head, random = astronaut()[40:168, 160:288], np.random.default_rng(0)
    shifted = np.stack([np.roll(head, random.integers(-9, 9, 2), axis=(0, 1)) for _ in range(count)])
    return FaceSquares(shifted, np.repeat(LANDMARKS[None], count, axis=0))


def test_faces_are_chosen_from_the_whole_collection():
    numbered = FaceSquares(np.arange(10, dtype=np.uint8), np.zeros((10, 5, 2)))
    assert evenly_chosen(numbered, 4).pixels.tolist() == [0, 2, 5, 7]
    assert evenly_chosen(numbered, 10).pixels.tolist() == list(range(10))
    with pytest.raises(TrainingDataError, match="10 faces, and 11 are wanted"):
        evenly_chosen(numbered, 11)


def test_the_common_mask_covers_the_mean_face_and_not_the_rim():
    mask = common_mask(squares(3))
    assert all(mask[int(y) // 8, int(x) // 8] for x, y in LANDMARKS)
    assert mask[1:-1, 1:-1].sum() == mask.sum()
    for wrong in (LANDMARKS + 900, LANDMARKS * np.nan):
        with pytest.raises(TrainingDataError, match="no cell belongs to a face"):
            common_mask(FaceSquares(squares(1).pixels, wrong[None]))


def test_inverting_in_batches_gives_each_face_its_own_noise(tiny_weights):
    exchange = exchange_with(load_model(tiny_weights), FAST.solver, KEYED_MAPS.index(ROTATION))
    faces = squares(BATCH + 1)
    mask = common_mask(faces)
    noise = invert_squares(faces, mask, exchange)
    assert noise.shape == (BATCH + 1, COMPONENTS, mask.sum())
    last = FaceSquares(faces.pixels[-1:], faces.landmarks[-1:])
    assert np.abs(invert_squares(last, mask, exchange)[0] - noise[-1]).max() < 1e-2
    assert np.abs(noise[0] - noise[-1]).max() > 0.1
