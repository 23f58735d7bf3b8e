"""How each kind of pretrained network is called: what it sees beside the noisy latent.

Latents here are in the network's own units; mask is (B, 1, L, L), one inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from faceseal.pretrained.controlnet import ControlledUNet


class Denoiser(Protocol):
    """A diffusion model's network."""

    def __call__(self, noisy: Tensor, timestep: Tensor, mask: Tensor, background: Tensor) -> Tensor:
        """Its output (B, C, L, L) for `noisy` at `timestep` (B,), given the mask and the clean background."""
        ...


@dataclass(frozen=True, eq=False)
class Unconditional:
    """A `diffusers.UNet2DModel`, which sees the noisy latent only."""

    network: Any

    def __call__(self, noisy: Tensor, timestep: Tensor, mask: Tensor, background: Tensor) -> Tensor:  # noqa: ARG002
        """The network's output."""
        return torch.as_tensor(self.network(noisy, timestep).sample)


@dataclass(frozen=True, eq=False)
class Inpainting:
    """Stable Diffusion inpainting, a `diffusers.UNet2DConditionModel`.

    It also sees the mask and the latent of the picture with the mask in grey.

    prompt: (1, tokens, width), the text embedding, the same for all faces; no guidance is used.
    """

    network: Any
    prompt: Tensor

    def __call__(self, noisy: Tensor, timestep: Tensor, mask: Tensor, background: Tensor) -> Tensor:
        """The network's output."""
        seen = torch.cat([noisy, mask, background], dim=1)
        text = self.prompt.expand(len(noisy), -1, -1)
        return torch.as_tensor(self.network(seen, timestep, encoder_hidden_states=text).sample)


@dataclass(frozen=True, eq=False)
class Controlled:
    """An unconditional model under a ControlNet for segmentation masks, which here are the mask itself."""

    network: ControlledUNet

    def __call__(self, noisy: Tensor, timestep: Tensor, mask: Tensor, background: Tensor) -> Tensor:  # noqa: ARG002
        """The network's output."""
        return torch.as_tensor(self.network(noisy, timestep, mask))
