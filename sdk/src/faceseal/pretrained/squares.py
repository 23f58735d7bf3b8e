"""Face squares as pictures of the size that a pretrained model works in, and back.

A pretrained autoencoder looks beyond the cells of a grid, so a square is resized as a whole
(by DCT truncation or padding, whose enlarging its reducing undoes), and pixels that must
have no influence are painted over before it is encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from faceseal.grid import GRID
from faceseal.latent import resize_matrix
from faceseal.pretrained.autoencoders import Autoencoder
from faceseal.pretrained.refine import fit_latent

FloatArray = NDArray[np.float64]

GREY = 127.5
FILL_WIDTH = 2.0
"""Standard deviation, in cells, of the blur that continues a picture into what is hidden."""


def painted_over(square: FloatArray, hidden: NDArray[np.bool_], *, smoothly: bool) -> FloatArray:
    """The square (S, S, 3) with its hidden pixels (S, S) in grey, or as a blur of those around them."""
    if not smoothly or hidden.all():
        return np.where(hidden[..., None], GREY, square)
    seen = (~hidden)[..., None].astype(np.float64)
    width = FILL_WIDTH * square.shape[0] / GRID
    blurred = gaussian_filter(np.concatenate([square * seen, seen], axis=2), (width, width, 0.0), mode="nearest")
    mean = square[~hidden].mean(axis=0)
    # Where the blur finds nothing, the mean colour takes over.
    return np.where(hidden[..., None], (blurred[..., :3] + 1e-3 * mean) / (blurred[..., 3:] + 1e-3), square)


@dataclass(frozen=True, eq=False)
class SquareCodec:
    """A `RefiningCodec` for squares of ``16 * cell`` pixels; latents are (B, C, L, L), all carried.

    scale: latent per unit of the autoencoder's; smoothly: how hidden pixels are painted over.
    """

    autoencoder: Autoencoder
    cell: int
    scale: float
    smoothly: bool

    @property
    def rank(self) -> int:
        """C."""
        return self.autoencoder.channels

    @property
    def subspace(self) -> FloatArray:
        """(C, C), the identity."""
        return np.eye(self.rank)

    @cached_property
    def _smaller(self) -> FloatArray:
        return resize_matrix(GRID * self.cell, self.autoencoder.pixels)

    @cached_property
    def _larger(self) -> FloatArray:
        return resize_matrix(self.autoencoder.pixels, GRID * self.cell)

    def encode(self, square: NDArray[np.generic]) -> FloatArray:
        """Latents (B, C, L, L) of squares (B, S, S, 3)."""
        resized = self._smaller @ np.moveaxis(np.asarray(square, dtype=np.float64), 3, 1) @ self._smaller.T
        with torch.inference_mode():
            latent = self.autoencoder.encode(self._tensor(resized / GREY - 1.0))
        return latent.cpu().double().numpy() * self.scale

    def decode(self, latent: FloatArray) -> FloatArray:
        """Squares (B, S, S, 3), neither rounded nor clipped, of latents (B, C, L, L)."""
        with torch.inference_mode():
            picture = self.autoencoder.decode(self._tensor(latent / self.scale)).cpu().double().numpy()
        return np.moveaxis(self._larger @ ((picture + 1.0) * GREY) @ self._larger.T, 1, 3)

    def background(self, square: NDArray[np.generic], mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> FloatArray:
        """Latents (B, C, L, L) of the squares with what is in the mask, or beyond the photo, painted over."""
        hidden = (mask | ~inside).repeat(self.cell, axis=1).repeat(self.cell, axis=2)
        whole = np.asarray(square, dtype=np.float64)
        return self.encode(
            np.stack([painted_over(s, h, smoothly=self.smoothly) for s, h in zip(whole, hidden, strict=True)])
        )

    def refined(
        self, latent: FloatArray, square: NDArray[np.uint8], mask: NDArray[np.bool_], iterations: int
    ) -> FloatArray:
        """The latent (C, L, L) that decodes to `square` (S, S, 3) in masked cells; see `fit_latent`."""
        per_cell = latent.shape[-1] // GRID
        free = mask.repeat(per_cell, axis=0).repeat(per_cell, axis=1)
        pixels = mask.repeat(self.cell, axis=0).repeat(self.cell, axis=1)
        larger = self._tensor(self._larger)

        def shown(z: Tensor) -> Tensor:
            return (larger @ self.autoencoder.decode(z) @ larger.T + 1.0) * GREY

        found = fit_latent(
            shown,
            self._tensor(latent[None] / self.scale),
            self._tensor(np.moveaxis(square.astype(np.float64), 2, 0)[None]),
            torch.from_numpy(free).to(larger.device),
            torch.from_numpy(pixels).to(larger.device),
            iterations,
        )
        return np.where(free, found[0].cpu().double().numpy() * self.scale, latent)

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float().to(self.autoencoder.device)
