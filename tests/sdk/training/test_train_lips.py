import numpy as np
import torch
from skimage.data import astronaut

from faceseal.faces.lips import in_photo, in_view, mouth_view
from faceseal.training.data import FaceSquares
from faceseal.training.lips import distil_lips

LANDMARKS = np.array([[37.0, 37], [87, 37], [62, 65], [42, 88], [84, 88]])
LIPS = np.array([[60.0, 85.0], [60.0, 93.0]])


def test_the_distilled_network_finds_the_lips_of_its_teacher_again():
    head = astronaut()[40:168, 160:288]
    squares = FaceSquares(np.repeat(head[None], 64, axis=0), np.repeat(LANDMARKS[None], 64, axis=0))
    network = distil_lips(squares, np.repeat(LIPS[None], 64, axis=0), epochs=40)
    view, place = mouth_view(head, LANDMARKS)
    with torch.no_grad():
        found = network(torch.from_numpy(view)[None]).numpy().reshape(2, 2)
    assert np.linalg.norm(in_photo(found, place) - LIPS, axis=1).max() < 2.5
    untaught = np.linalg.norm(in_photo(np.zeros((2, 2)), place) - LIPS, axis=1)
    assert untaught.max() > 3
    assert np.abs(in_view(LIPS, place)).max() < 1
