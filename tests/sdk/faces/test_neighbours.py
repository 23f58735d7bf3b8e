import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from faceseal.faces.neighbours import covered_cells, parted_masks, touched_cells
from faceseal.faces.square import FaceSquare

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
