import numpy as np
import onnxruntime
import pytest
import torch

from faceseal.faces import lips, pose
from faceseal.training.lips import lips_network
from faceseal.training.looks import looks_network
from faceseal.training.pose import pose_network
from faceseal.training.smallnetworks import as_bytes, export_network, fit, small_network


@pytest.mark.parametrize(
    ("make", "side"), [(lips_network, lips.VIEW), (pose_network, pose.VIEW), (looks_network, pose.VIEW)]
)
def test_an_exported_network_says_the_same_in_half_the_bytes(tmp_path, make, side):
    torch.manual_seed(0)
    network = make().eval()
    export_network(network, "small", side, tmp_path / "small.onnx")
    views = np.random.default_rng(0).normal(size=(3, 3, side, side)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), providers=["CPUExecutionProvider"])
    (said,) = session.run(None, {"view": views})
    with torch.no_grad():
        assert np.allclose(said, network(torch.from_numpy(views)).numpy(), atol=1e-3)
    assert (tmp_path / "small.onnx").stat().st_size < 2000 + 2 * sum(one.numel() for one in network.parameters())


def test_a_fitted_network_answers_what_was_wanted():
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    brightness = random.uniform(-0.9, 0.9, 256)
    views = np.repeat(brightness, 3 * 16 * 16).reshape(256, 3, 16, 16).astype(np.float32)
    network = small_network(16, (8, 8), 1)
    fit(network, as_bytes(views), brightness[:, None], torch.nn.functional.l1_loss, epochs=150, rate=4e-3, decay=1e-4)
    with torch.no_grad():
        found = network(torch.from_numpy(views)).numpy()[:, 0]
    assert np.abs(found - brightness).mean() < 0.05
    assert not network.training
