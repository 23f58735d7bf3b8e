import numpy as np

from faceseal.faces.light import find_light


def test_light_is_the_mean_colour_of_each_quarter_of_the_mask():
    mask = np.zeros((16, 16), bool)
    mask[2:8, 4:12] = True
    square = np.full((64, 64, 3), 255, np.uint8)
    square[8:20, 16:32], square[8:20, 32:48] = (10, 20, 30), (40, 50, 60)
    square[20:32, 16:32], square[20:32, 32:48] = (70, 80, 90), (100, 110, 120)
    assert np.array_equal(find_light(square, mask), [(10, 20, 30), (40, 50, 60), (70, 80, 90), (100, 110, 120)])


def test_quarters_in_which_nothing_is_masked_have_the_colour_of_all_that_is():
    mask = np.zeros((16, 16), bool)
    mask[3, 3:5] = True
    square = np.zeros((32, 32, 3), np.uint8)
    square[6:8, 6:8], square[6:8, 8:10] = 100, 200
    assert np.array_equal(find_light(square, mask), np.array([[100], [200], [150], [150]]) * np.ones(3))
