"""A ControlNet for an unconditional `UNet2DModel` (arXiv 2302.05543, as used in arXiv 2510.01031).

diffusers has ControlNets for text-conditioned networks only.  A copy of the network's
encoder sees the hint as well, and what it computes is added to what the decoder gets.  Names
of the parameters are those of the published checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

HINT_CHANNELS = 3
FIRST_WIDTH = 16


class ControlledUNet(nn.Module):
    """`UNet2DModel` and the controlling copy of its encoder.

    downsampling: pixels of the hint per position of the latent, along a side; a power of two.
    """

    def __init__(self, unet: Any, downsampling: int) -> None:
        super().__init__()
        widths = unet.config["block_out_channels"]
        self.downsampling = downsampling
        self.trained_unet = unet
        self.control_copy_unet: Any = UNet2DModel.from_config(unet.config)
        self.control_copy_unet_hint_block = _hint_block(widths[0], downsampling)
        self.control_copy_unet_down_zero_convs = nn.ModuleList(
            nn.Conv2d(width, width, kernel_size=1)
            for width, block in zip(widths, unet.down_blocks, strict=True)
            for _ in block.resnets
        )
        self.control_copy_unet_mid_zero_conv = nn.Conv2d(widths[-1], widths[-1], kernel_size=1)

    def load_control(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the parameters of a published checkpoint.

        It also repeats the network's time embedding, as ``time_embedding.*``.  Raises
        RuntimeError if anything else is missing or left over.
        """
        own = {name: value for name, value in tensors.items() if not name.startswith("time_embedding.")}
        network = {f"trained_unet.{name}": value for name, value in self.trained_unet.state_dict().items()}
        self.load_state_dict(network | own)

    def forward(self, noisy: Tensor, timestep: Tensor, mask: Tensor) -> Tensor:
        """Output (B, C, L, L) at `timestep` (B,), with `mask` (B, 1, L, L) as the segmentation."""
        unet: Any = self.trained_unet
        copy = self.control_copy_unet
        time = unet.time_embedding(unet.time_proj(timestep))
        hint = nn.functional.interpolate(mask, scale_factor=float(self.downsampling), mode="nearest")
        hint = self.control_copy_unet_hint_block(hint.expand(-1, HINT_CHANNELS, -1, -1))
        skips, middle = _encoder(unet, unet.conv_in(noisy), time)
        control_skips, control_middle = _encoder(copy, copy.conv_in(noisy) + hint, time)
        state = middle + self.control_copy_unet_mid_zero_conv(control_middle)
        remaining = [skip + control for skip, control in zip(skips, self._weighted(control_skips), strict=True)]
        for block in unet.up_blocks:
            count = len(block.resnets)
            state = block(state, tuple(remaining[-count:]), time)
            remaining = remaining[:-count]
        return torch.as_tensor(unet.conv_out(unet.conv_act(unet.conv_norm_out(state))))

    def _weighted(self, skips: list[Tensor]) -> list[Tensor]:
        """Through the zero convolutions, as published: those after residual blocks; the others as they are."""
        convolutions = iter(self.control_copy_unet_down_zero_convs)
        weighted, remaining = [skips[0]], iter(skips[1:])
        for block in self.control_copy_unet.down_blocks:
            weighted += [next(convolutions)(next(remaining)) for _ in block.resnets]
            weighted += [next(remaining) for _ in block.downsamplers or ()]
        return weighted


def _encoder(unet: Any, state: Tensor, time: Tensor) -> tuple[list[Tensor], Tensor]:
    """(every skip connection, first to last; the middle block's output)."""
    skips = [state]
    for block in unet.down_blocks:
        state, outputs = block(state, time)
        skips += outputs
    return skips, unet.mid_block(state, time)


def _hint_block(width: int, downsampling: int) -> nn.Sequential:
    """Convolutions that bring the hint to the latent's size and `width` channels."""

    def convolution(before: int, after: int, stride: int = 1, size: int = 3) -> nn.Conv2d:
        return nn.Conv2d(before, after, kernel_size=size, stride=stride, padding=size // 2)

    channels = FIRST_WIDTH
    layers = [nn.Sequential(convolution(HINT_CHANNELS, channels), nn.SiLU())]
    while downsampling > 1:
        layers.append(
            nn.Sequential(
                convolution(channels, 2 * channels, stride=2), nn.SiLU(), convolution(2 * channels, 2 * channels)
            )
        )
        channels, downsampling = 2 * channels, downsampling // 2
    layers.append(nn.Sequential(convolution(channels, width), nn.SiLU(), convolution(width, width, size=1)))
    return nn.Sequential(*layers)
