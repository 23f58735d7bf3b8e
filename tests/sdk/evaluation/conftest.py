"""Four "people" from two public-domain portraits, and networks small enough for tests."""

import io
import zipfile
from pathlib import Path

import matplotlib
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer.generator import default_model
from faceseal.evaluation.fidelity import Fidelity
from faceseal.evaluation.person import About, Appearance, Embeddings, Person, SealedFigures
from faceseal.evaluation.versions import Version
from faceseal.model import VelocityNetwork, save_model


def portraits() -> list[np.ndarray]:
    """Two faces upright, and mirrored: four people."""
    hopper = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    collins = astronaut()[20:220, 130:330]
    admiral = np.asarray(hopper.crop((130, 40, 430, 340)).resize((200, 200), Image.Resampling.LANCZOS))
    return [collins, admiral, collins[:, ::-1], admiral[:, ::-1]]


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def toned(pixels: np.ndarray, gain: float) -> np.ndarray:
    """Darker or lighter, and moved: as another photo of the same person."""
    return np.clip(np.roll(pixels, 6, axis=1) * gain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.zip"
    names = ["collins", "hopper", "snilloc", "reppoh"]
    with zipfile.ZipFile(path, "w") as archive:
        rows = ["identity,first,second"]
        for name, pixels in zip(names, portraits(), strict=True):
            archive.writestr(f"{name}-1.png", encoded(pixels))
            archive.writestr(f"{name}-2.png", encoded(toned(pixels, 0.9)))
            rows.append(f"{name},{name}-1.png,{name}-2.png")
        archive.writestr("pairs.csv", "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """A velocity network with a thousandth of the work, untrained."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VelocityNetwork(VelocityNetwork().architecture | {"block_out_channels": [32, 32]})
    save_model(path, network, default_model().klt, "tiny")
    return path


@pytest.fixture(scope="session")
def tiny_recognizer(tmp_path_factory) -> Path:
    """An ONNX network that averages blocks of 14 x 14 pixels: who is alike is who looks alike from afar."""
    number = onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("AveragePool", ["face"], ["blocks"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Flatten", ["blocks"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("face", number, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", number, [1, 192])],
    )
    path = tmp_path_factory.mktemp("recognizer") / "blocks.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def person():
    """Makes people with random embeddings of a network "net": `person(name, seed, ...)`."""
    return make_person


def make_person(name: str, seed: int, *, sealed: bool = True, psnr: float = 40.0, light: float = 100.0) -> Person:
    """The second photo and the restored face are near the first, everything anonymized is anywhere."""
    random = np.random.default_rng(seed)
    first = random.normal(size=32)

    def near() -> np.ndarray:
        return first + 0.2 * random.normal(size=32)

    versions = (Version.ANONYMIZED, Version.RESTORED, Version.WRONG_KEY, Version.FLIPPED_BIT, Version.JPEG_90)
    like_first = (Version.RESTORED, Version.JPEG_90)
    made = np.stack([near() if version in like_first else random.normal(size=32) for version in versions])
    keys = np.concatenate([made[:1], random.normal(size=(9, 32))])
    squares = {"untouched": random.integers(0, 255, (128, 128, 3)).astype(np.uint8)}
    if not sealed:
        none = np.zeros((0, 32))
        return Person(About(name, "FidelityTooLow", None), {"net": Embeddings(first, near(), none, none)}, squares, [])
    reached = {Version.RESTORED: Fidelity(psnr, 0.99, 0.98), Version.JPEG_90: Fidelity(psnr / 2, 0.8, 0.7)}
    look = Appearance(0.05, 4.0, 0.02)
    figures = SealedFigures(1, 1, 2.0, True, True, light, 0.03, versions, reached, {Version.ANONYMIZED: look})
    squares["anonymized"] = random.integers(0, 255, (128, 128, 3)).astype(np.uint8)
    return Person(About(name, "sealed", figures), {"net": Embeddings(first, near(), made, keys)}, squares, [])
