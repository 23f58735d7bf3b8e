"""The velocity network and the file that it is kept in.

The network sees one face square: the masked state at time t, the clean latent of what lies
outside the mask, the mask, and where the eyes, nose and mouth are.  It answers with the
velocity dz/dt of the probability-flow ODE of ``z_t = (1 - t) z_0 + t n`` (flow matching,
arXiv 2210.02747), inside the mask only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from faceseal.errors import ModelError
from faceseal.grid import GRID
from faceseal.latent import COMPONENTS, KLT

LANDMARKS = 5
"""Right eye, left eye, nose, right and left mouth corner, as seen in the image."""
FORMAT = "faceseal-model-1"

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

    background: (B, 32, 16, 16), zero inside the mask; mask: (B, 1, 16, 16), one inside;
    landmarks: (B, 5, 16, 16), see `landmark_maps`.
    """

    background: Tensor
    mask: Tensor
    landmarks: Tensor

    def stacked(self) -> Tensor:
        """(B, 38, 16, 16)."""
        return torch.cat([self.background, self.mask, self.landmarks], dim=1)


def landmark_maps(points: Tensor, width: float = 0.75) -> Tensor:
    """Gaussian bumps (B, 5, 16, 16) of standard deviation `width` cells at `points` (B, 5, 2).

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


@dataclass(frozen=True, eq=False)
class Model:
    """A velocity network, the latent it works in, and the digest that files name it by."""

    network: VelocityNetwork
    klt: KLT
    digest: bytes
    """SHA-256 of the weights file."""
    name: str
    device: torch.device = field(default=torch.device("cpu"))

    def velocity(self, state: Tensor, time: float, condition: Condition) -> Tensor:
        """dz/dt inside the mask, zero outside: (B, 32, 16, 16), float32."""
        times = torch.full((state.shape[0],), time, device=state.device)
        velocity: Tensor = self.network(state, times, condition.stacked())
        return velocity * condition.mask


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


def load_model(path: Path, device: str = "cpu") -> Model:
    """Read a weights file written by `save_model`; the network comes back in float32.

    Raises ModelError if the file is missing, is not such a file, or does not fit its header.
    """
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
    where = torch.device(device)
    network = network.requires_grad_(False).eval().to(where)
    return Model(network, klt, hashlib.sha256(content).digest(), name, where)
