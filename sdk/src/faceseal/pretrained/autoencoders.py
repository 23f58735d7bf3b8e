"""The first stage of a pretrained model: pictures to latents and back.

Pictures are (B, 3, P, P) in [-1, 1], latents (B, C, L, L) as the diffusion model sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Autoencoder(Protocol):
    """channels: C; pixels: P; linear: whether encoding undoes decoding exactly."""

    @property
    def channels(self) -> int:
        """C."""
        ...

    @property
    def pixels(self) -> int:
        """P."""
        ...

    @property
    def linear(self) -> bool:
        """Whether encoding undoes decoding exactly."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...

    def encode(self, picture: Tensor) -> Tensor:
        """Latents of pictures."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures of latents."""
        ...


@dataclass(frozen=True, eq=False)
class Pixels:
    """None at all: the model works on the picture."""

    pixels: int
    device: torch.device
    channels: int = 3
    linear: bool = True

    def encode(self, picture: Tensor) -> Tensor:
        """The picture."""
        return picture

    def decode(self, latent: Tensor) -> Tensor:
        """The latent."""
        return latent


@dataclass(frozen=True, eq=False)
class VectorQuantized:
    """A `diffusers.VQModel`, used without its codebook: what it decodes is not snapped to it first."""

    network: Any
    pixels: int
    factor: float
    device: torch.device
    linear: bool = False

    @property
    def channels(self) -> int:
        """C."""
        return int(self.network.quant_conv.out_channels)

    def encode(self, picture: Tensor) -> Tensor:
        """Latents before quantization, times the scaling factor."""
        return torch.as_tensor(self.network.encode(picture).latents * self.factor)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures of latents that are not quantized."""
        return torch.as_tensor(self.network.decode(latent / self.factor, force_not_quantize=True).sample)


@dataclass(frozen=True, eq=False)
class Variational:
    """A `diffusers.AutoencoderKL`; encoding takes the mode of the posterior, so that nothing is random."""

    network: Any
    pixels: int
    factor: float
    shift: float
    device: torch.device
    linear: bool = False

    @property
    def channels(self) -> int:
        """C."""
        return int(self.network.config["latent_channels"])

    def encode(self, picture: Tensor) -> Tensor:
        """Latents, shifted and scaled as the diffusion model was trained on them."""
        return torch.as_tensor((self.network.encode(picture).latent_dist.mode() - self.shift) * self.factor)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures of latents."""
        return torch.as_tensor(self.network.decode(latent / self.factor + self.shift).sample)
