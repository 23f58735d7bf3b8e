import numpy as np
from skimage.data import astronaut

from faceseal import published
from faceseal.exchange import Face

MASK = np.zeros((16, 16), dtype=bool)
MASK[3:15, 3:13] = True


def test_the_published_process_runs_on_every_pretrained_model(pretrained, kind):
    square = astronaut()[40:168, 160:288].copy()
    faces = [
        Face(square, MASK, np.ones((16, 16), bool), np.full((7, 2), 8.0), bytes([seed]) * 32, bytes(32))
        for seed in (1, 2)
    ]
    one, other = published.anonymize(pretrained(kind), faces, steps=3)
    outside = ~faces[0].masked_pixels
    assert np.array_equal(one[outside], square[outside])
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, square)
