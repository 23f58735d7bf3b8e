"""A pretrained diffusion model as the masked ODE sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from faceseal.model import Condition, FloatArray
from faceseal.pretrained.autoencoders import Autoencoder
from faceseal.pretrained.denoisers import Denoiser, Inpainting
from faceseal.pretrained.schedule import Schedule
from faceseal.pretrained.squares import SquareCodec


@dataclass(frozen=True, eq=False)
class PretrainedModel:
    """A `Model` made of an autoencoder, a network and its noise schedule.

    The state is the latent inside the mask.  Outside of it the network sees the clean
    background as noisy as the state is, ``(1 - t) b + t eps``, with public noise eps.
    side: positions of the latent; digest: SHA-256 over the files that it was loaded from.
    """

    autoencoder: Autoencoder
    denoiser: Denoiser
    schedule: Schedule
    side: int
    digest: bytes
    name: str

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.autoencoder.device

    @property
    def channels(self) -> int:
        """Numbers per position of the latent."""
        return self.autoencoder.channels

    @property
    def visibility(self) -> FloatArray:
        """All alike: nothing better is known of these latents."""
        return np.ones(self.channels)

    @property
    def linear(self) -> bool:
        """Whether encoding is exact, as it is for models on pixels."""
        return self.autoencoder.linear

    def codec(self, cell: int) -> SquareCodec:
        """The codec for cells of ``cell x cell`` pixels."""
        return _codec(self, cell)

    def velocity(self, state: Tensor, time: float, condition: Condition) -> Tensor:
        """d(state)/d(time) inside the mask, zero outside.  Raises ValueError without `Condition.noise`."""
        if condition.noise is None:
            raise ValueError("a pretrained model needs the public noise of the background")
        schedule, mask = self.schedule, condition.mask
        level = schedule.last * time
        known = (1.0 - level) * condition.background + level * schedule.scale * condition.noise
        whole = state * mask + known * (1.0 - mask)
        timestep = torch.full((len(whole),), schedule.timestep(level), device=whole.device)
        seen = schedule.network_input(whole, level)
        output = self.denoiser(seen, timestep, mask, condition.background / schedule.scale)
        return schedule.velocity(output, whole, level) * mask


@lru_cache(maxsize=32)
def _codec(model: PretrainedModel, cell: int) -> SquareCodec:
    # An inpainting network was trained on pictures with the mask in grey.
    smoothly = not isinstance(model.denoiser, Inpainting)
    return SquareCodec(model.autoencoder, cell, model.schedule.scale, smoothly)
