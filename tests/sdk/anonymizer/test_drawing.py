import random
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from skimage.data import astronaut

from faceseal.anonymizer import attempts, drawing
from faceseal.anonymizer.attempts import Demands
from faceseal.anonymizer.drawing import (
    ODDITY_OF_A_DEGREE,
    ODDITY_OF_A_LEVEL,
    ODDITY_OF_A_YEAR,
    ODDITY_OF_THE_OTHER_SEX,
    Choice,
    draw_best,
    origins,
)
from faceseal.anonymizer.generator import default_model, exchange_with
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.placing import Placed, place_face
from faceseal.envelope.header import PUBLIC_NONCE_BYTES, FaceRecord
from faceseal.errors import FidelityTooLow
from faceseal.exchange import Exchange
from faceseal.imagekey import ImageKey
from faceseal.profiles import DEFAULT, FAST

KEY = ImageKey(uuid4(), bytes(range(32)))
PHOTO = astronaut()[0:256, 100:356]


def record(cell: int = 8) -> FaceRecord:
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:13, 4:12] = True
    landmarks = np.array([[5.5, 6], [9.5, 6], [7.5, 8], [6, 10], [9, 10], [7.5, 9.75], [7.5, 10.25]])
    return FaceRecord(60, 50, cell, mask, landmarks, bytes(range(16)), 0)


def placed(face: FaceRecord, photo: np.ndarray = PHOTO) -> Placed:
    return place_face(photo, [face], 0, KEY)


@pytest.fixture(scope="module")
def exchange():
    return exchange_with(default_model(), replace(FAST.solver, steps=3), 1)


@pytest.fixture(autouse=True)
def _the_same_nonces_each_time(monkeypatch):
    """With so few steps, about one nonce in a hundred brings nothing back, which is for `best_attempts` to see."""
    monkeypatch.setattr(drawing.os, "urandom", random.Random(0).randbytes)


@pytest.fixture
def judged(monkeypatch):
    """(latents, surprise) of each time that faces were judged; all look alike, the same way, and in the same light."""
    seen = []
    monkeypatch.setattr(drawing, "find_poses", lambda photos, _: np.zeros((len(photos), 3)))
    monkeypatch.setattr(drawing, "find_looks", lambda photos, _: np.zeros((len(photos), 2)))
    monkeypatch.setattr(drawing, "find_light", lambda *_: np.zeros((4, 3)))
    original = Exchange.surprise

    def surprise(self, latents, faces):
        found = original(self, latents, faces)
        seen.append((latents, found))
        return found

    monkeypatch.setattr(Exchange, "surprise", surprise)
    return seen


def guard_that_says(*scores: float) -> IdentityGuard:
    said = iter(scores)
    return IdentityGuard(lambda *_: next(said), 0.3)


def is_made_from(draw, latent, exchange) -> bool:
    (made,) = exchange.latents([replace(draw.face, square=draw.square)])
    return bool(np.abs(made - latent)[:, draw.face.mask].mean() < 0.05)


def restored_error(draw, face, exchange) -> float:
    """Root mean square, in levels, of what the drawn face's pixels give under the nonce of `face`."""
    sealed = PHOTO.copy()
    sealed[50 : 50 + 128, 60 : 60 + 128] = draw.square
    (back,) = exchange.restore([placed(face, sealed).face])
    inside = draw.face.masked_pixels
    error = back[inside].astype(float) - PHOTO[50 : 50 + 128, 60 : 60 + 128][inside]
    return float(np.sqrt((error**2).mean()))


def test_the_least_surprising_of_those_drawn_is_kept(exchange, judged):
    drawn = draw_best(origins([placed(record()), placed(record())], KEY, exchange), exchange, Choice(4, 4))
    ((latents, surprise),) = judged
    assert len(set(surprise)) == len(surprise) == 8
    for index, draw in enumerate(drawn):
        best = 4 * index + int(surprise[4 * index : 4 * index + 4].argmin())
        assert [is_made_from(draw, latent, exchange) for latent in latents] == [k == best for k in range(8)]


def test_a_head_that_looks_the_same_way_is_preferred_as_far_as_a_degree_weighs(exchange, judged, monkeypatch):
    turns = {"of the photo": [3.0], "made": [20.0, 20.0, 3.0, 20.0]}
    monkeypatch.setattr(drawing, "find_poses", lambda *_: np.outer(turns.pop(next(iter(turns))), [0.6, -0.8, 0.0]))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(4, 4))
    ((latents, surprise),) = judged
    oddity = np.log(surprise) + ODDITY_OF_A_DEGREE * np.array([17.0, 17.0, 0.0, 17.0])
    assert oddity.argmin() == 2
    assert is_made_from(draw, latents[2], exchange)


@pytest.mark.parametrize(
    ("own", "made", "oddity"),
    [
        ((0.9, 40.0), [(0.1, 40.0), (0.8, 40.0), (0.2, 40.0)], ODDITY_OF_THE_OTHER_SEX * np.array([0.8, 0.1, 0.7])),
        ((0.5, 40.0), [(0.5, 10.0), (0.5, 70.0), (0.5, 41.0)], ODDITY_OF_A_YEAR * np.array([30.0, 30.0, 1.0])),
    ],
    ids=["sex", "age"],
)
def test_a_face_that_goes_with_the_photo_is_preferred(exchange, judged, monkeypatch, own, made, oddity):
    looks = [np.array([own]), np.array(made)]
    monkeypatch.setattr(drawing, "find_looks", lambda *_: looks.pop(0))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(3, 3))
    ((latents, surprise),) = judged
    assert is_made_from(draw, latents[int((np.log(surprise) + oddity).argmin())], exchange)


def test_a_face_in_the_light_of_the_photo_is_preferred(exchange, judged, monkeypatch):
    own = np.arange(12.0).reshape(4, 3)
    apart = [np.zeros((4, 3)), np.tile([0.0, 60.0, 80.0], (4, 1)), np.zeros((4, 3))]
    apart[2][3] = [0.0, 60.0, 80.0]
    lights = [own, own + apart[1], own + apart[0], own - apart[2]]
    monkeypatch.setattr(drawing, "find_light", lambda *_: lights.pop(0))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(3, 3))
    ((latents, surprise),) = judged
    best = int((np.log(surprise) + ODDITY_OF_A_LEVEL * np.array([100.0, 0.0, 25.0])).argmin())
    assert is_made_from(draw, latents[best], exchange)


def test_light_is_looked_for_where_the_face_is(exchange, monkeypatch):
    seen = []
    find_light = drawing.find_light
    monkeypatch.setattr(drawing, "find_light", lambda *given: seen.append(given) or find_light(*given))
    draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(2, 2))
    assert np.array_equal(seen[0][0], PHOTO[50 : 50 + 128, 60 : 60 + 128])
    assert len(seen) == 3
    for square, mask in seen:
        changed = (square != seen[0][0]).any(axis=2).reshape(16, 8, 16, 8).any(axis=(1, 3))
        assert not (changed & ~mask).any()
        assert np.array_equal(mask, record().mask)


def test_only_the_most_promising_are_finished_and_judged_again(exchange, judged, monkeypatch):
    turns = [[0.0], [9.0, 1.0, 8.0, 0.0, 7.0], [0.0, 0.0]]
    promised = []
    seen = Exchange.seen
    monkeypatch.setattr(Exchange, "seen", lambda self, one: promised.append(seen(self, one)) or promised[-1])
    monkeypatch.setattr(drawing, "find_poses", lambda *_: np.outer(turns.pop(0), [1.0, 0.0, 0.0]))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(5, 2))
    ((latents, surprise),) = judged
    assert len(latents) == 2
    assert not turns
    for latent, expected in zip(latents, (3, 1), strict=True):
        apart = np.abs(promised[0] - latent).mean(axis=(1, 2, 3))
        assert apart.argmin() == expected
    assert is_made_from(draw, latents[int(surprise.argmin())], exchange)


def test_of_one_that_is_finished_nothing_more_is_asked(exchange, judged):
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(3, 1))
    assert not judged
    assert restored_error(draw, draw.record, exchange) < restored_error(draw, record(), exchange) / 2


def test_a_face_that_promises_to_be_too_alike_is_not_finished(exchange, judged):
    choice = Choice(3, 1, 1, guard_that_says(0.9, 0.8, 0.1, 0.15))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    assert (draw.likeness, draw.rounds) == (0.15, 1)


def test_if_half_promise_to_be_too_alike_as_many_again_are_drawn_before_any_is_finished(exchange, monkeypatch):
    guard = guard_that_says(0.9, 0.8, 0.1, 0.2, 0.7, 0.7, 0.2, 0.1, 0.25)
    turns = [[0.0], [0.0, 0.0, 5.0, 4.0], [0.0], [0.0, 0.0, 1.0, 6.0]]
    monkeypatch.setattr(drawing, "find_poses", lambda *_: np.outer(turns.pop(0), [1.0, 0.0, 0.0]))
    glimpsed, finished = [], []
    seen, finish = Exchange.seen, Exchange.finished
    monkeypatch.setattr(Exchange, "seen", lambda self, one: glimpsed.append(seen(self, one)) or glimpsed[-1])
    monkeypatch.setattr(Exchange, "finished", lambda *given: finished.append(finish(*given)) or finished[-1])
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(4, 1, 5, guard))
    assert (draw.likeness, draw.rounds) == (0.25, 2)
    assert not turns
    ((latent,),) = finished
    apart = np.abs(np.concatenate(glimpsed) - latent).mean(axis=(1, 2, 3))
    assert apart.argmin() == 6
    assert is_made_from(draw, latent, exchange)


def test_one_photos_faces_are_drawn_again_each_by_itself(exchange, monkeypatch):
    guard = guard_that_says(0.1, 0.2, 0.9, 0.8, 0.9, 0.2, 0.15, 0.25)
    finished = []
    finish = Exchange.finished
    monkeypatch.setattr(Exchange, "finished", lambda *given: finished.append(finish(*given)) or finished[-1])
    first, second = origins([placed(record()), placed(record())], KEY, exchange)
    one, other = draw_best([first, second], exchange, Choice(2, 1, 5, guard))
    assert [(draw.likeness, draw.rounds) for draw in (one, other)] == [(0.15, 1), (0.25, 2)]
    ((mine, others),) = finished
    assert is_made_from(one, mine, exchange)
    assert is_made_from(other, others, exchange)


def test_the_last_round_is_the_last_however_few_promise_to_be_unlike(exchange):
    choice = Choice(2, 1, 2, guard_that_says(0.9, 0.8, 0.7, 0.6, 0.5))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    assert (draw.likeness, draw.rounds) == (0.5, 2)


def test_poses_are_looked_for_in_the_photo_with_each_face(exchange, monkeypatch):
    seen = []

    def find_poses(photos, landmarks):
        seen.append((photos, landmarks))
        return np.zeros((len(photos), 3))

    monkeypatch.setattr(drawing, "find_poses", find_poses)
    draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(2, 2))
    ((view,), own_points), (made, points) = seen
    assert np.array_equal(view, placed(record()).view)
    assert not np.array_equal(made[0], made[1])
    for photo in made:
        changed = (photo != view).any(axis=2)
        assert changed[32:-32, 32:-32].any()
        assert changed.sum() == changed[32:-32, 32:-32].sum()
    assert all(np.allclose(one, record().landmarks[:5] * 8 + 32) for one in (*points, *own_points))


def test_a_drawn_face_comes_back_under_the_nonce_that_it_names(exchange):
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(3, 3))
    assert draw.record.nonce[:PUBLIC_NONCE_BYTES] == record().nonce[:PUBLIC_NONCE_BYTES]
    assert draw.record.nonce != record().nonce
    assert restored_error(draw, draw.record, exchange) < restored_error(draw, record(), exchange) / 2


def test_unlikeness_comes_before_naturalness(exchange, judged):
    choice = Choice(4, 4, 1, guard_that_says(0.9, 0.2, 0.9, 0.9, 0.2))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    assert draw.likeness == 0.2
    assert is_made_from(draw, judged[0][0][1], exchange)


def test_among_those_unlike_enough_the_least_surprising_is_kept(exchange, judged):
    choice = Choice(4, 4, 1, guard_that_says(0.9, 0.2, 0.1, 0.25, 0.2))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    latents, surprise = judged[0]
    assert is_made_from(draw, latents[1 + int(surprise[1:].argmin())], exchange)


def test_if_all_are_too_alike_the_least_alike_is_kept(exchange, judged):
    choice = Choice(4, 4, 1, guard_that_says(0.9, 0.7, 0.5, 0.8, 0.5))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    assert is_made_from(draw, judged[0][0][2], exchange)


def test_faces_are_drawn_again_while_all_are_too_alike(exchange, judged):
    choice = Choice(2, 2, 3, guard_that_says(0.9, 0.7, 0.7, 0.8, 0.2, 0.2))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    assert draw.rounds == len(judged) == 2
    assert draw.likeness == 0.2
    assert is_made_from(draw, judged[1][0][1], exchange)


def test_after_the_last_round_the_least_alike_of_all_is_returned(exchange, judged):
    choice = Choice(2, 2, 2, guard_that_says(0.9, 0.4, 0.4, 0.8, 0.6, 0.6))
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, choice)
    assert (draw.rounds, draw.likeness) == (2, 0.4)
    assert is_made_from(draw, judged[0][0][1], exchange)


def test_a_face_too_small_for_the_guard_is_not_shown_to_it(exchange, judged):
    guard = IdentityGuard(lambda *_: pytest.fail("it was"), 0.3, smallest=40.0)
    (draw,) = draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(4, 4, 3, guard))
    ((latents, surprise),) = judged
    assert is_made_from(draw, latents[int(surprise.argmin())], exchange)


def test_the_guard_sees_the_face_with_what_is_around_it(exchange):
    shown = []

    def likeness(original, made, landmarks):
        shown.append((original, made, landmarks))
        return 0.0

    (draw,) = draw_best(
        origins([placed(record())], KEY, exchange), exchange, Choice(1, 1, 1, IdentityGuard(likeness, 0.3))
    )
    ((original, made, landmarks),) = shown
    assert np.array_equal(original, PHOTO[50 - 32 : 50 + 160, 60 - 32 : 60 + 160])
    assert np.array_equal(made[32:-32, 32:-32], draw.square)
    changed = (made != original).any(axis=2)
    assert changed[32:-32, 32:-32].any()
    assert changed.sum() == changed[32:-32, 32:-32].sum()
    assert np.allclose(landmarks, record().landmarks[:5] * 8 + 32)


def test_one_draw_is_not_judged(exchange, judged):
    draw_best(origins([placed(record())], KEY, exchange), exchange, Choice(1, 1))
    assert not judged


@pytest.mark.parametrize("cell", [3, 8])
def test_a_photos_own_face_surprises_less_than_one_with_its_cells_shuffled(cell):
    exchange = exchange_with(default_model(), DEFAULT.solver, 1)
    one = replace(record(cell), x=60 + 8 * (8 - cell), y=50 + 8 * (8 - cell))
    face = placed(one).face
    (own,) = exchange.latents([face])
    shuffled = own.copy()
    shuffled[:, face.mask] = own[:, face.mask][:, np.random.default_rng(0).permutation(int(face.mask.sum()))]
    both = exchange.surprise(np.stack([own, shuffled]), [face, face])
    assert both[0] < 0.9 * both[1]


@pytest.fixture
def attempted(monkeypatch):
    """The draws of each attempt at a face, which come back to 20, 25 and 22 dB."""
    made, reached = [], iter([20.0, 25.0, 22.0])
    monkeypatch.setattr(attempts, "decibel", lambda *_: next(reached))
    monkeypatch.setattr(attempts, "draw_best", lambda *given: made.append(draw_best(*given)) or made[-1])
    return made


def test_a_face_that_comes_back_badly_is_made_again(exchange, attempted):
    demands = Demands(replace(FAST, draws=1, finished=1, attempts=3, least_fidelity=24.0))
    best = attempts.best_attempts({5: placed(record())}, exchange, KEY, demands)[5]
    assert (best.rounds, best.reached) == (2, 25.0)
    assert [draw.record.nonce == best.record.nonce for (draw,) in attempted] == [False, True]


def test_a_face_that_always_comes_back_badly_is_refused_with_the_best_that_was_reached(exchange, attempted):
    demands = Demands(replace(FAST, draws=1, finished=1, attempts=3, least_fidelity=30.0))
    with pytest.raises(FidelityTooLow, match=r"25\.0 dB"):
        attempts.best_attempts({5: placed(record())}, exchange, KEY, demands)
    assert len(attempted) == 3
