import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from faceseal.envelope.header import FaceRecord
from faceseal.evaluation.appearance import (
    landmark_distance,
    main_face,
    mouth_gap,
    pose_difference,
    same_place,
)
from faceseal.evaluation.fidelity import fidelity, luminance
from faceseal.faces.detector import DetectedFace

POINTS = np.array([[-10.0, 0], [10, 0], [0, 10], [-8, 20], [8, 20]])


def face(x: float, y: float, size: float = 1.0) -> DetectedFace:
    return DetectedFace((0, 0, 1, 1), 1.0, POINTS * size + [x, y - 10 * size])


def record() -> FaceRecord:
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:12, 4:12] = True
    return FaceRecord(8, 8, 4, mask, np.zeros((7, 2)), bytes(16), 40)


@given(st.floats(0, 60), st.floats(0.2, 5), st.floats(-50, 50))
def test_pose_is_the_angle_whatever_the_size_and_place(angle, size, shift):
    mesh = np.random.default_rng(0).normal(size=(468, 3))
    turned = Rotation.from_rotvec(np.array([0.6, 0.8, 0.0]) * angle, degrees=True).apply(mesh) * size + shift
    assert pose_difference(mesh, turned) == pytest.approx(angle, abs=1e-4)


def test_a_mouths_gap_is_measured_in_eye_distances():
    mesh = np.zeros((468, 3))
    mesh[[33, 133, 362, 263], 0] = [-35, -25, 25, 35]
    mesh[13, 1], mesh[14, 1] = 50, 56
    assert mouth_gap(mesh) == pytest.approx(0.1)
    assert mouth_gap(mesh * 3) == pytest.approx(0.1)


def test_the_main_face_is_the_most_central_of_the_large_ones():
    large_aside, central, small_central = face(20, 100, 1.2), face(110, 95), face(100, 100, 0.3)
    assert main_face([large_aside, small_central, central], 200, 200) is central
    assert main_face([], 200, 200) is None


def test_a_face_is_found_again_only_where_it_was():
    here, near, far = face(100, 100), face(104, 100), face(160, 100)
    assert same_place([far, near], here) is near
    assert same_place([far], here) is None
    assert landmark_distance(here, near) == pytest.approx(4 / 20)


def test_only_errors_in_the_mask_lower_the_psnr():
    original = np.random.default_rng(0).integers(0, 200, (80, 80, 3)).astype(np.uint8)
    outside, inside = original.copy(), original.copy()
    outside[8:24, 8:24] += 10
    inside[24:56, 24:56] += 10
    assert fidelity(original, outside, record()).psnr == 99.0
    assert fidelity(original, inside, record()).psnr == pytest.approx(20 * np.log10(255 / 10))


def test_ssim_falls_with_blur_and_more_so_in_the_mask_alone():
    original = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    blurred = original.copy()
    blurred[24:56, 24:56] = 127
    assert fidelity(original, original, record()).ssim == fidelity(original, original, record()).masked_ssim == 1.0
    found = fidelity(original, blurred, record())
    assert found.masked_ssim < found.ssim < 0.9


def test_luminance_is_that_of_the_mask():
    original = np.zeros((80, 80, 3), dtype=np.uint8)
    original[24:56, 24:56] = 150
    assert luminance(original, record()) == pytest.approx(150)
