"""What a model is to the rest of faceseal; the packaged kind, and the file that it is kept in.

A model turns face squares into a latent and back, and answers with the velocity of the ODE
in that latent.  faceseal.pretrained has models of another make behind the same protocol.

The packaged network sees one face square: the masked state at time t, the clean latent of what lies
outside the mask, the mask, and where the eyes, nose and mouth are.  It answers with the
velocity dz/dt of the probability-flow ODE of ``z_t = (1 - t) z_0 + t n`` (flow matching,
arXiv 2210.02747), inside the mask only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import safetensors
import safetensors.torch
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray
from torch import Tensor, nn

from faceseal.device import device_named
from faceseal.errors import ModelError
from faceseal.grid import GRID, LANDMARKS
from faceseal.guidance import Guidance
from faceseal.latent import COMPONENTS, KLT, CellCodec
from faceseal.perturbed_attention import guided, make_perturbable, second_half_perturbed

FORMAT = "faceseal-model-1"
LOUDER = 1.5
"""Factor of the lips' maps when a face is guided."""

FloatArray = NDArray[np.float64]

_ARCHITECTURE: dict[str, Any] = {
    "sample_size": GRID,
    "in_channels": 2 * COMPONENTS + 1 + LANDMARKS,
    "out_channels": COMPONENTS,
    "block_out_channels": [160, 192],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 32,
    "norm_num_groups": 32,
    "resnet_time_scale_shift": "scale_shift",
}


@dataclass(frozen=True)
class Condition:
    """What both directions of the ODE know, computed from public pixels and the file's header.

    background: (B, C, L, L), see `Codec.background`; mask: (B, 1, L, L), one inside;
    landmarks: (B, 7, 16, 16), see `landmark_maps`; noise: (B, C, L, L), standard normal and
    public, for models that see a background as noisy as the state.
    The packaged network has C = 32 channels and L = 16 positions a side.
    """

    background: Tensor
    mask: Tensor
    landmarks: Tensor
    noise: Tensor | None = None

    def stacked(self) -> Tensor:
        """(B, 40, 16, 16), what the packaged network sees beside the state."""
        return torch.cat([self.background, self.mask, self.landmarks], dim=1)


class Codec(Protocol):
    """Face squares of one size as latents of a model, and back.

    Squares are (B, S, S, 3) grey levels 0..255, latents (B, C, L, L); all float64.
    """

    @property
    def cell(self) -> int:
        """Pixels per side of a cell; ``S = 16 * cell``."""
        ...

    @property
    def rank(self) -> int:
        """Numbers per position that squares of this size can carry, at most C."""
        ...

    @property
    def subspace(self) -> FloatArray:
        """(C, rank), orthonormal columns: the directions that are carried."""
        ...

    def encode(self, square: NDArray[np.generic]) -> FloatArray:
        """Latents (B, C, L, L) of squares (B, S, S, 3)."""
        ...

    def decode(self, latent: FloatArray) -> FloatArray:
        """Squares (B, S, S, 3), neither rounded nor clipped, of latents (B, C, L, L)."""
        ...

    def background(self, square: NDArray[np.generic], mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> FloatArray:
        """Latents (B, C, L, L) of what lies around the mask, the same before and after sealing.

        mask, inside: (B, 16, 16), cells to replace, and cells in the photo.  Pixels in the
        mask or beyond the photo have no influence on it.
        """
        ...


class RefiningCodec(Codec, Protocol):
    """A codec that is not linear: decoding what it encodes does not give back what was encoded."""

    def refined(
        self, latent: FloatArray, square: NDArray[np.uint8], mask: NDArray[np.bool_], iterations: int
    ) -> FloatArray:
        """The latent (C, L, L) that decodes to `square` (S, S, 3) in masked cells (16, 16) as nearly as can be.

        It starts at `latent`, and differs from it inside the mask alone.
        """
        ...


class Model(Protocol):
    """A velocity field in a latent, and the digest that files name it by."""

    @property
    def digest(self) -> bytes:
        """32 bytes that no other model has."""
        ...

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...

    @property
    def channels(self) -> int:
        """Numbers per position of the latent, C."""
        ...

    @property
    def side(self) -> int:
        """Positions along one side of the latent, L: a multiple of 16."""
        ...

    @property
    def visibility(self) -> FloatArray:
        """(C,), with mean 1: how much an error of each component shows in the picture."""
        ...

    @property
    def linear(self) -> bool:
        """Whether encoding is exact: if not, the codecs are `RefiningCodec`s."""
        ...

    def codec(self, cell: int) -> Codec:
        """The codec for cells of ``cell x cell`` pixels."""
        ...

    def velocity(self, state: Tensor, time: float, condition: Condition) -> Tensor:
        """dz/dt at `time` in [0, 1] inside the mask, zero outside: (B, C, L, L), float32."""
        ...


@runtime_checkable
class GuidableModel(Model, Protocol):
    """A model that can guide the faces that it makes."""

    def guided_velocity(self, state: Tensor, time: float, condition: Condition, strength: float) -> Tensor:
        """`Model.velocity`, guided away from that of a perturbed model; see `faceseal.guidance`."""
        ...


def landmark_maps(points: Tensor, width: float = 0.75) -> Tensor:
    """Gaussian bumps (B, 7, 16, 16) of standard deviation `width` cells at `points` (B, 7, 2).

    Points are (x, y) in cells from the square's top left corner.  NaN points give empty maps.
    """
    centres = torch.arange(GRID, dtype=points.dtype, device=points.device) + 0.5
    falloff = torch.exp(-0.5 * ((centres - points[..., None]) / width) ** 2)
    return torch.nan_to_num(falloff[:, :, 1, :, None] * falloff[:, :, 0, None, :])


class VelocityNetwork(nn.Module):
    """``UNet2DModel`` of diffusers on 16 x 16 cells."""

    def __init__(self, architecture: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.architecture = dict(architecture or _ARCHITECTURE)
        self.unet: nn.Module = UNet2DModel(**self.architecture)  # type: ignore[assignment]

    def forward(self, state: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Velocity (B, 32, 16, 16) of `state` at `time` (B,) in [0, 1]."""
        velocity: Tensor = self.unet(torch.cat([state, condition], dim=1), time * 1000.0).sample
        return velocity


def require_refinable(model: Model, iterations: int) -> None:
    """Raises ModelError if latents are to be refined, with a model whose encoding is exact already."""
    if iterations and model.linear:
        raise ModelError(f"the latent of model {model.name} is linear, so its encoding is exact; leave out `refine`")


def require_guidable(model: Model, guidance: Guidance) -> None:
    """Raises ModelError if faces are to be guided, with a model that cannot."""
    if guidance.active and not isinstance(model, GuidableModel):
        raise ModelError(f"model {model.name} cannot guide the faces that it makes")


@lru_cache(maxsize=32)
def _codec(klt: KLT, cell: int) -> CellCodec:
    return klt.codec(cell)


@dataclass(frozen=True, eq=False)
class FaceModel:
    """The packaged kind: a `VelocityNetwork` in the linear latent of a `KLT`; a `Model`."""

    network: VelocityNetwork
    klt: KLT
    digest: bytes
    """SHA-256 of the weights file."""
    name: str
    device: torch.device = field(default=torch.device("cpu"))

    def __post_init__(self) -> None:
        make_perturbable(self.network)

    @property
    def channels(self) -> int:
        """32."""
        return COMPONENTS

    @property
    def side(self) -> int:
        """16."""
        return GRID

    @property
    def visibility(self) -> FloatArray:
        """In proportion to the KLT's scale, for its latent is whitened."""
        return np.asarray(self.klt.scale / self.klt.scale.mean())

    @property
    def linear(self) -> bool:
        """True."""
        return True

    def codec(self, cell: int) -> CellCodec:
        """The codec for cells of ``cell x cell`` pixels."""
        return _codec(self.klt, cell)

    def velocity(self, state: Tensor, time: float, condition: Condition) -> Tensor:
        """dz/dt inside the mask, zero outside: (B, 32, 16, 16), float32."""
        times = torch.full((state.shape[0],), time, device=state.device)
        velocity: Tensor = self.network(state, times, condition.stacked())
        return velocity * condition.mask

    def guided_velocity(self, state: Tensor, time: float, condition: Condition, strength: float) -> Tensor:
        """`velocity`, guided away from that of a network without attention that is not told of the lips.

        The network itself is told of them `LOUDER`.
        """
        told = replace(condition, landmarks=condition.landmarks * _lips_times(LOUDER, condition.landmarks))
        untold = replace(condition, landmarks=condition.landmarks * _lips_times(0.0, condition.landmarks))
        times = torch.full((2 * state.shape[0],), time, device=state.device)
        with second_half_perturbed():
            both = self.network(state.repeat(2, 1, 1, 1), times, torch.cat([told.stacked(), untold.stacked()]))
        usual, perturbed = (both * condition.mask.repeat(2, 1, 1, 1)).chunk(2)
        return guided(usual, perturbed, state * condition.mask, time, strength)


def _lips_times(factor: float, landmarks: Tensor) -> Tensor:
    """(7, 1, 1): ones, and `factor` for the two points of the lips."""
    return torch.tensor([1.0] * 5 + [factor] * 2, device=landmarks.device)[:, None, None]


def save_model(path: Path, network: VelocityNetwork, klt: KLT, name: str) -> None:
    """Write a weights file: the network in bfloat16, the KLT in float64, one JSON header."""
    tensors = {f"network.{key}": value.to(torch.bfloat16) for key, value in network.unet.state_dict().items()}
    for key, value in (("mean", klt.mean), ("basis", klt.basis), ("scale", klt.scale)):
        tensors[f"klt.{key}"] = torch.from_numpy(np.ascontiguousarray(value))
    metadata = {"format": FORMAT, "name": name, "architecture": json.dumps(network.architecture, sort_keys=True)}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()}, metadata))
    unfinished.replace(path)


def _metadata(content: bytes) -> dict[str, str]:
    """The strings in a safetensors file's JSON header, of at most 1 MiB.  Raises ValueError."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(1 << 20, len(content) - 8):
        raise ValueError("not a safetensors file")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata if isinstance(metadata, dict) else {}


def load_model(path: Path, device: str = "cpu") -> FaceModel:
    """Read a weights file written by `save_model`; the network comes back in float32.

    Raises ModelError if the file is missing, is not such a file, or does not fit its header,
    and if there is no such device.
    """
    where = device_named(device)
    try:
        content = path.read_bytes()
        metadata = _metadata(content)
        if metadata.get("format") != FORMAT:
            raise ModelError(f"{path} is not a {FORMAT} weights file")
        tensors = safetensors.torch.load(content)
        network = VelocityNetwork(json.loads(metadata["architecture"]))
        network.unet.load_state_dict(
            {k.removeprefix("network."): v.float() for k, v in tensors.items() if k.startswith("network.")}
        )
        klt = KLT(*(tensors[f"klt.{key}"].numpy() for key in ("mean", "basis", "scale")))
        name = metadata["name"]
    except (
        OSError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as cause:
        raise ModelError(f"cannot read the model {path}: {' '.join(str(cause).split())[:200]}") from cause
    try:
        network = network.requires_grad_(False).eval().to(where)
    except RuntimeError as cause:  # such as no memory left
        raise ModelError(f"cannot compute on {device!r}: {' '.join(str(cause).split())[:200]}") from cause
    return FaceModel(network, klt, hashlib.sha256(content).digest(), name, where)
