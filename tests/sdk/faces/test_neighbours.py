import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceseal.faces.neighbours import aligned_squares, covered_cells, parted_masks, squares_meet, touched_cells
from faceseal.faces.square import FaceSquare, place_square

SIDE = 120
SQUARES = st.builds(FaceSquare, st.integers(-20, 90), st.integers(-20, 90), st.integers(1, 7))
MASKS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((16, 16)) < 0.7)


def pixels(square: FaceSquare, mask: np.ndarray) -> np.ndarray:
    """Masked pixels on a canvas large enough for every square of these tests."""
    return FaceSquare(square.x + 20, square.y + 20, square.cell).masked_pixels(mask, 2 * SIDE, 2 * SIDE)


def cells(square: FaceSquare, canvas: np.ndarray) -> np.ndarray:
    """The canvas by cells (16, 16, cell**2)."""
    x, y, cell = square.x + 20, square.y + 20, square.cell
    part = canvas[y : y + 16 * cell, x : x + 16 * cell]
    return part.reshape(16, cell, 16, cell).swapaxes(1, 2).reshape(16, 16, -1)


def looking_straight(square: FaceSquare) -> np.ndarray:
    """Landmarks (5, 2) of a face in the middle of the square."""
    points = np.array([[0.3, 0.3], [0.69, 0.3], [0.5, 0.5], [0.36, 0.7], [0.64, 0.7]])
    return points * square.side + [square.x, square.y]


@given(SQUARES, SQUARES, MASKS)
def test_cells_are_touched_or_covered_as_their_pixels_say(square, other, mask):
    below = cells(square, pixels(other, mask))
    assert np.array_equal(touched_cells(square, other, mask), below.any(axis=2))
    assert np.array_equal(covered_cells(square, other, mask), below.all(axis=2))


@given(st.lists(st.tuples(SQUARES, MASKS), max_size=5))
def test_parted_masks_share_no_pixel_and_none_grows(faces):
    squares, masks = [square for square, _ in faces], [mask for _, mask in faces]
    parted = parted_masks(squares, masks, [looking_straight(square) for square in squares])
    covered = sum((pixels(s, m).astype(int) for s, m in zip(squares, parted, strict=True)), np.zeros(1, int))
    assert covered.max() <= 1
    assert all((part <= mask).all() for part, mask in zip(parted, masks, strict=True))


@given(SQUARES, SQUARES)
def test_between_two_faces_less_than_a_cell_is_left_as_it_is(one, other):
    squares, whole = [one, other], np.ones((16, 16), bool)
    parted = parted_masks(squares, [whole, whole], [looking_straight(square) for square in squares])
    wanted = pixels(one, whole) | pixels(other, whole)
    left = wanted & ~pixels(one, parted[0]) & ~pixels(other, parted[1])
    # What is left lies in cells of the later face that the earlier one's mask reaches into.
    assert not (left & ~pixels(other, touched_cells(other, one, parted[0]))).any()


def test_faces_apart_keep_their_masks():
    squares, mask = [FaceSquare(0, 0, 2), FaceSquare(32, 0, 2)], np.ones((16, 16), bool)
    parted = parted_masks(squares, [mask, mask], [looking_straight(square) for square in squares])
    assert all(part.all() for part in parted)


def test_each_of_two_faces_side_by_side_keeps_the_half_that_is_nearer():
    squares, mask = [FaceSquare(0, 0, 4), FaceSquare(32, 0, 4)], np.ones((16, 16), bool)
    first, second = parted_masks(squares, [mask, mask], [looking_straight(square) for square in squares])
    assert np.array_equal(first, np.broadcast_to(np.arange(16) < 12, (16, 16)))
    assert np.array_equal(second, np.broadcast_to(np.arange(16) >= 4, (16, 16)))


def face(x: float, y: float, side: float) -> np.ndarray:
    """Landmarks (5, 2) of a face that a square of this side frames, centred at x, y."""
    return looking_straight(FaceSquare(0, 0, 100)) * side / 1600 + [x - side / 2, y - side / 2]


FACES = st.lists(st.builds(face, st.floats(-10, 410), st.floats(-10, 310), st.floats(60, 200)), min_size=1, max_size=4)


@given(FACES)
def test_alignment_moves_a_square_by_less_than_a_cell_and_parts_none_by_the_photos_edge(faces):
    placed = [place_square(points, 400, 300) for points in faces]
    for was, square in zip(placed, aligned_squares(placed, faces, 400, 300), strict=True):
        assert abs(square.cell - was.cell) <= 0.15 * max(square.cell, was.cell)
        assert abs(square.x + square.side / 2 - was.x - was.side / 2) < 1.5 * square.cell + 1
        assert abs(square.y + square.side / 2 - was.y - was.side / 2) < 1.5 * square.cell + 1
        for start, length in ((square.x, 400), (square.y, 300)):
            assert start >= 0 or start % square.cell == 0
            assert start + square.side <= length or (start + square.side - length) % square.cell == 0


@given(FACES)
def test_faces_that_meet_nobody_stay_where_they_are(faces):
    placed = [place_square(points, 400, 300) for points in faces]
    for index, (was, square) in enumerate(zip(placed, aligned_squares(placed, faces, 400, 300), strict=True)):
        if not any(squares_meet(was, other) for other in placed[:index] + placed[index + 1 :]):
            assert was == square


@pytest.mark.parametrize("second", [(220, 150, 128), (211, 157, 140), (236, 61, 122)], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_between_two_aligned_faces_nothing_is_left_as_it_is(second, turned):
    faces = [face(140, 130, 128), face(*second)]
    faces = faces[::-1] if turned else faces
    squares = aligned_squares([place_square(points, 400, 300) for points in faces], faces, 400, 300)
    assert squares_meet(*squares)
    parted = parted_masks(squares, [square.inside(400, 300) for square in squares], faces)
    wanted = sum(square.masked_pixels(square.inside(400, 300), 400, 300).astype(int) for square in squares)
    kept = sum(square.masked_pixels(mask, 400, 300).astype(int) for square, mask in zip(squares, parted, strict=True))
    assert np.array_equal(kept, np.minimum(wanted, 1))


def test_a_face_at_the_photos_edge_is_what_its_neighbour_is_aligned_with():
    faces = [face(200, 150, 128), face(300, 150, 120)]
    (free, bound) = (place_square(points, 350, 300) for points in faces)
    squares = aligned_squares([free, bound], faces, 350, 300)
    assert bound.x + bound.side > 350
    assert squares[1] == bound
    assert squares[0].cell == bound.cell
    assert (bound.x - squares[0].x) % bound.cell == (bound.y - squares[0].y) % bound.cell == 0


def test_faces_of_different_sizes_are_not_aligned():
    faces = [face(140, 130, 128), face(230, 150, 96)]
    placed = [place_square(points, 400, 300) for points in faces]
    assert aligned_squares(placed, faces, 400, 300) == placed
