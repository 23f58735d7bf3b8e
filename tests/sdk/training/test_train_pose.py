import numpy as np
import torch
from scipy.spatial.transform import Rotation
from skimage.data import astronaut

from faceseal.faces.pose import face_view
from faceseal.training.data import FaceSquares
from faceseal.training.pose import distil_pose, rotations_from_average

LANDMARKS = np.array([[37.0, 37], [87, 37], [62, 65], [42, 88], [84, 88]])


def test_poses_are_the_rotations_between_meshes_whatever_their_size_and_place():
    random = np.random.default_rng(0)
    shape, turns = random.normal(size=(50, 3)), random.normal(0.0, 12.0, (40, 3))
    turns[20:] = -turns[:20]
    meshes = np.stack([Rotation.from_rotvec(turn, degrees=True).apply(shape) for turn in turns])
    found = rotations_from_average(meshes * random.uniform(0.5, 2.0, (40, 1, 1)) + random.normal(size=(40, 1, 3)))
    between = Rotation.from_rotvec(found[0], degrees=True) * Rotation.from_rotvec(found[5], degrees=True).inv()
    wanted = Rotation.from_rotvec(turns[0], degrees=True) * Rotation.from_rotvec(turns[5], degrees=True).inv()
    assert np.degrees((between * wanted.inv()).magnitude()) < 1e-6
    assert np.abs(found - turns).max() < 2


def test_the_distilled_network_tells_a_face_from_its_mirror_image():
    head = astronaut()[40:168, 160:288]
    squares = FaceSquares(np.repeat(head[None], 64, axis=0), np.repeat(LANDMARKS[None], 64, axis=0))
    network = distil_pose(squares, np.tile([0.0, 20.0, -3.0], (64, 1)), epochs=40)
    mirrored = (np.array([128.0, 0.0]) + LANDMARKS * [-1, 1])[[1, 0, 2, 4, 3]]
    views = np.stack([face_view(head, LANDMARKS), face_view(np.ascontiguousarray(head[:, ::-1]), mirrored)])
    with torch.no_grad():
        own, other = network(torch.from_numpy(views)).numpy()
    assert np.abs(own - [0, 20, -3]).max() < 4
    assert np.abs(other - [0, -20, 3]).max() < 4
