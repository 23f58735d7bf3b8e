"""Face squares: framing, the photo's edges, and that nothing outside the mask changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceseal.errors import PhotoError
from faceseal.faces.geometry import ellipse_mask, quarter_turns
from faceseal.faces.square import FaceSquare, face_mask, place_square

TRAINED = np.array([(37.0, 37.0), (87.0, 37.0), (62.0, 64.0), (42.0, 88.0), (84.0, 88.0)])
"""Where the landmarks lie in the training squares of 128 pixels."""


def face_at(x: float, y: float, side: float) -> np.ndarray:
    """Landmarks of a frontal face whose square of this side is centred here."""
    return (TRAINED - (62.5, 62.5)) * side / 128 + (x, y)


@st.composite
def squares_in_photos(draw: st.DrawFn) -> tuple[FaceSquare, np.ndarray, np.ndarray]:
    """A square at a photo's edge or inside, the photo, a mask (16, 16)."""
    width, height = draw(st.integers(64, 150)), draw(st.integers(64, 150))
    x, y = draw(st.floats(-20, width + 20)), draw(st.floats(-20, height + 20))
    square = place_square(face_at(x, y, draw(st.floats(20, 200))), width, height)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return square, random.integers(0, 256, (height, width, 3), np.uint8), random.random((16, 16)) < 0.5


@given(squares_in_photos())
def test_pasting_what_was_cut_out_changes_nothing(given: tuple[FaceSquare, np.ndarray, np.ndarray]) -> None:
    square, photo, mask = given
    np.testing.assert_array_equal(square.paste(photo, square.crop(photo), mask), photo)


@given(squares_in_photos())
def test_pasting_changes_every_masked_pixel_and_no_other(given: tuple[FaceSquare, np.ndarray, np.ndarray]) -> None:
    square, photo, mask = given
    before = photo.copy()
    pasted = square.paste(photo, 255 - square.crop(photo), mask)
    covered = square.masked_pixels(mask, photo.shape[1], photo.shape[0])
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(pasted[~covered], photo[~covered])
    np.testing.assert_array_equal(pasted[covered], 255 - photo[covered])


@given(squares_in_photos())
def test_a_cell_lies_in_the_photo_whole_or_not_at_all(given: tuple[FaceSquare, np.ndarray, np.ndarray]) -> None:
    square, photo, mask = given
    height, width, _ = photo.shape
    covered = square.masked_pixels(mask, width, height)
    assert covered.sum() == (mask & square.inside(width, height)).sum() * square.cell**2


@given(squares_in_photos())
def test_what_was_pasted_is_what_is_cut_out_again(given: tuple[FaceSquare, np.ndarray, np.ndarray]) -> None:
    square, photo, mask = given
    mask = mask & square.inside(photo.shape[1], photo.shape[0])
    blocks = mask.repeat(square.cell, axis=0).repeat(square.cell, axis=1)
    new = 255 - square.crop(photo)
    np.testing.assert_array_equal(square.crop(square.paste(photo, new, mask))[blocks], new[blocks])


def test_cells_of_the_mask_have_their_place_in_the_photo() -> None:
    mask = np.zeros((16, 16), dtype=bool)
    mask[2, 5] = True
    covered = FaceSquare(10, 20, 4).masked_pixels(mask, 200, 150)
    assert covered.shape == (150, 200)
    assert covered[28:32, 30:34].all()
    assert covered.sum() == 16


def test_a_cell_that_the_photos_edge_cuts_is_not_inside() -> None:
    inside = FaceSquare(-3, 40, 4).inside(58, 103)
    assert inside[:15, 1:15].all()
    assert inside.sum() == 15 * 14


def test_the_photo_is_continued_by_its_edge() -> None:
    photo = np.arange(100 * 100 * 3, dtype=np.uint8).reshape(100, 100, 3)
    crop = FaceSquare(-8, 60, 4).crop(photo)
    assert crop.shape == (64, 64, 3)
    np.testing.assert_array_equal(crop[:40, 8:], photo[60:, :56])
    np.testing.assert_array_equal(crop[5, :8], np.repeat(photo[65, :1], 8, axis=0))
    np.testing.assert_array_equal(crop[40:, 20], np.repeat(photo[99:, 12], 24, axis=0))


def test_a_face_is_framed_as_in_training() -> None:
    square = place_square(face_at(300.4, 250.2, 160), 640, 480)
    assert square == FaceSquare(220, 170, 10)
    placed = (face_at(300.4, 250.2, 160) - (square.x, square.y)) * 128 / square.side
    assert np.abs(placed - TRAINED).max() < 2.5


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_roll_changes_neither_centre_nor_side(degrees: int) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    rolled = (face_at(0, 0, 200)) @ turn + (320, 300)
    square = place_square(rolled, 640, 600)
    assert abs(square.side - 200) <= 8
    assert abs(square.x + square.side / 2 - 320) <= 1
    assert abs(square.y + square.side / 2 - 300) <= 1


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("degrees", [-40, 0, 40])
def test_quarter_turns_say_how_to_turn_the_picture_upright(turns: int, degrees: int) -> None:
    """A face turned clockwise by a quarter is upright after one counterclockwise turn."""
    angle = np.deg2rad(90 * turns + degrees)
    clockwise = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert quarter_turns(face_at(0, 0, 200) @ clockwise) == turns


def test_a_face_that_looks_aside_or_up_keeps_its_size() -> None:
    aside = face_at(320, 240, 160)
    aside[:, 0] = 320 + (aside[:, 0] - 320) * 0.3
    up = face_at(320, 240, 160)
    up[:, 1] = 240 + (up[:, 1] - 240) * 0.6
    assert abs(place_square(aside, 640, 480).side - 160) <= 16
    assert abs(place_square(up, 640, 480).side - 160) <= 16


CENTRES = [(x, y) for x in (-30, 0, 3, 40, 150, 260, 297, 300, 330) for y in (-30, 0, 5, 40, 200, 360, 399, 400)]


@pytest.mark.parametrize(("x", "y"), CENTRES)
def test_near_an_edge_or_a_corner_cell_borders_lie_on_the_edge(x: float, y: float) -> None:
    square = place_square(face_at(x, y, 112), 300, 400)
    assert square.cell == 7
    for corner, centre, length in ((square.x, x, 300), (square.y, y, 400)):
        if corner < 0:
            assert corner % 7 == 0
        if corner + square.side > length:
            assert (corner + square.side - length) % 7 == 0
        assert abs(corner + 56 - min(max(centre, 0), length)) <= 4.5
        assert not (corner < 0 and corner + square.side > length)
    assert square.inside(300, 400).any()


def test_a_tiny_face_is_covered_by_the_smallest_cells() -> None:
    square = place_square(face_at(100, 100, 14), 200, 200)
    assert square.cell == 3
    assert face_mask(face_at(100, 100, 14), square)[6:11, 6:11].all()


def test_a_face_that_fills_the_photo_is_covered_from_edge_to_edge() -> None:
    landmarks = face_at(100, 110, 300)
    square = place_square(landmarks, 200, 230)
    assert square.side == 192
    assert face_mask(landmarks, square)[2:14].all()


def test_a_face_beyond_the_largest_cells_is_refused_with_the_scale_that_helps() -> None:
    landmarks = face_at(4000, 4000, 4096)
    with pytest.raises(PhotoError, match=r"needs a square of 4096 pixels and 2048 is the most; .* 50 %"):
        place_square(landmarks, 8000, 8000)
    assert place_square(landmarks / 2, 4000, 4000).cell == 128


def test_a_photo_without_room_for_a_square_is_refused() -> None:
    with pytest.raises(PhotoError, match="smaller than 48 pixels"):
        place_square(face_at(20, 20, 40), 47, 100)


def test_the_mask_of_a_frontal_face_is_the_ellipse_of_the_training() -> None:
    square = FaceSquare(-16, 24, 8)
    np.testing.assert_array_equal(face_mask(TRAINED + np.array([-16, 24]), square), ellipse_mask(TRAINED, 128))


@given(st.floats(-180, 180), st.floats(40, 200), st.floats(0.2, 1.0), st.floats(-0.1, 0.1))
@settings(deadline=None)
def test_the_mask_covers_all_landmarks_of_a_face_however_it_is_turned(
    degrees: float, side: float, narrowed: float, nose: float
) -> None:
    face = face_at(0, 0, side) * (narrowed, 1)
    face[2, 0] += nose * side
    angle = np.deg2rad(degrees)
    turned = face @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + (150, 150)
    square = place_square(turned, 300, 300)
    cells = np.floor((turned - (square.x, square.y)) / square.cell).astype(int)
    assert face_mask(turned, square)[cells[:, 1], cells[:, 0]].all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_mask_of_a_face_that_looks_aside_moves_towards_the_cheek(mirrored: bool) -> None:
    face = face_at(150, 150, 128)
    face[2, 0] -= 16
    if mirrored:
        face = (face * (-1, 1) + (300, 0))[[1, 0, 2, 4, 3]]
    columns = face_mask(face, FaceSquare(86, 86, 8)).sum(axis=0)
    towards, away = (columns[8:].sum(), columns[:8].sum())[:: -1 if mirrored else 1]
    assert towards > away + 20


def test_the_rim_is_where_the_photo_goes_on() -> None:
    middle = FaceSquare(40, 40, 8).rim(300, 300)
    assert middle.sum() == 4 * 15
    assert not middle[1:-1, 1:-1].any()
    corner = FaceSquare(0, 172, 8).rim(300, 300)
    assert not corner[1:, 0].any()
    assert not corner[-1, 1:-1].any()
    assert corner[0].all()
    assert corner[:, -1].all()
    assert not FaceSquare(-8, -8, 8).rim(120, 120).any()
