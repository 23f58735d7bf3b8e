"""The latent of a face square: a linear, orthonormal code that loses nothing it carries.

A face square of side ``16 * cell`` pixels is a grid of 16 x 16 cells.  One cell of
``cell x cell`` pixels corresponds to one 8 x 8 patch by truncating or zero-padding its
DCT, and a patch to 32 numbers by projecting on the leading principal components
(Karhunen-Loeve transform, KLT).  Both maps are linear, so a cell size fixes two matrices,
and decoding followed by encoding returns exactly what was given.  Cells never overlap:
what is decoded inside the mask changes no pixel outside it.

Everything here is float64 numpy: machines differ by less than 1e-8 grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from faceseal.grid import GRID

PATCH = 8
"""Side of the patch that the KLT was fitted on, in pixels."""
COMPONENTS = 32
"""Numbers per cell."""
MINIMUM_CARRIED = 0.6
"""A direction of the latent that a small cell returns with less than this share of its
amplitude is left out of the state (see `CellCodec.subspace`)."""

FloatArray = NDArray[np.float64]


def resize_matrix(source: int, target: int) -> FloatArray:
    """Matrix (target, source) that resamples a line of pixels by DCT truncation or padding.

    Grey levels are kept: a constant line stays that constant.  For ``target >= source``,
    ``resize_matrix(target, source) @ resize_matrix(source, target)`` is the identity.
    """
    kept = min(source, target)
    forward = dct(np.eye(source), norm="ortho", axis=0)[:kept]
    backward = dct(np.eye(target), norm="ortho", axis=0)[:kept].T
    return np.asarray(backward @ forward * np.sqrt(target / source))


def resize_blocks(blocks: FloatArray, target: int) -> FloatArray:
    """RGB blocks (N, source, source, 3), resampled to (N, target, target, 3)."""
    line = resize_matrix(blocks.shape[1], target)
    return np.asarray(np.einsum("ya,nabc,xb->nyxc", line, blocks, line, optimize=True))


@dataclass(frozen=True, eq=False)
class KLT:
    """Principal components of 8 x 8 RGB patches, partly whitened.

    mean: (192,) grey levels; basis: (192, 32), orthonormal columns, strongest first;
    scale: (32,) grey levels per unit of latent.  Raises ValueError for other shapes.
    """

    mean: FloatArray
    basis: FloatArray
    scale: FloatArray

    def __post_init__(self) -> None:
        values = 3 * PATCH**2
        if (self.mean.shape, self.basis.shape, self.scale.shape) != ((values,), (values, COMPONENTS), (COMPONENTS,)):
            raise ValueError("the KLT's arrays do not have the shapes (192,), (192, 32) and (32,)")

    @classmethod
    def from_moments(cls, mean: FloatArray, covariance: FloatArray) -> KLT:
        """Fit to the mean (192,) and covariance (192, 192) of patches.

        The scale is the square root of each component's standard deviation (partial
        whitening), normalised so that the latent's mean variance is one.
        """
        variances, vectors = np.linalg.eigh(covariance)
        order = np.argsort(variances)[::-1][:COMPONENTS]
        spread = np.sqrt(variances[order])
        signs = np.sign(vectors[:, order].sum(axis=0))
        signs[signs == 0] = 1.0
        return cls(mean, vectors[:, order] * signs, np.sqrt(spread * spread.mean()))

    def codec(self, cell: int) -> CellCodec:
        """The codec for cells of ``cell x cell`` pixels."""
        return CellCodec(self, cell)


def _resized(patches: FloatArray, cell: int) -> FloatArray:
    """Patches (N, 192) as cells (N, 3 * cell**2)."""
    return resize_blocks(patches.reshape(-1, PATCH, PATCH, 3), cell).reshape(len(patches), -1)


@dataclass(frozen=True, eq=False)
class CellCodec:
    """Encodes and decodes face squares whose cells are ``cell x cell`` pixels.

    Squares are (B, 16 * cell, 16 * cell, 3) arrays of grey levels 0..255; latents are
    (B, 32, 16, 16); states are (B, rank, 16, 16), where ``rank`` is 32 unless the cell is
    too small to carry all components.
    """

    klt: KLT
    cell: int

    @cached_property
    def _carried(self) -> tuple[FloatArray, FloatArray]:
        """(subspace, decode): latent directions that the cell carries, and their pixels."""
        pixels = _resized(self.klt.basis.T, self.cell).T
        _, gain, directions = np.linalg.svd(pixels * (PATCH / self.cell), full_matrices=False)
        kept = directions[gain >= MINIMUM_CARRIED].T
        if kept.shape[1] == COMPONENTS:
            subspace = np.eye(COMPONENTS)
        else:
            subspace, _ = np.linalg.qr(kept / self.klt.scale[:, None])
        return subspace, pixels @ (self.klt.scale[:, None] * subspace)

    @property
    def rank(self) -> int:
        """Numbers per cell in the state, at most 32."""
        return int(self.subspace.shape[1])

    @property
    def subspace(self) -> FloatArray:
        """(32, rank), orthonormal columns: state to latent is ``subspace @ state``."""
        return self._carried[0]

    @property
    def decoding(self) -> FloatArray:
        """(3 * cell**2, rank): from a cell's state to its pixels, less their mean."""
        return self._carried[1]

    @cached_property
    def encoding(self) -> FloatArray:
        """(rank, 3 * cell**2): from a cell's pixels, less their mean, to its state."""
        return np.asarray(np.linalg.pinv(self.decoding), dtype=np.float64)

    @cached_property
    def mean(self) -> FloatArray:
        """(3 * cell**2,): the mean cell, in grey levels."""
        return np.asarray(_resized(self.klt.mean[None], self.cell)[0])

    def encode(self, square: NDArray[np.generic]) -> FloatArray:
        """Latent (B, 32, 16, 16) of squares (B, S, S, 3), ``S = 16 * cell``."""
        blocks = self.blocks(np.asarray(square, dtype=np.float64)) - self.mean
        state = blocks @ self.encoding.T @ self.subspace.T
        return np.moveaxis(state, -1, 1)

    def decode(self, latent: FloatArray) -> FloatArray:
        """Squares (B, S, S, 3), neither rounded nor clipped, of latents (B, 32, 16, 16).

        What lies outside the carried subspace is dropped.
        """
        state = np.moveaxis(latent, 1, -1) @ self.subspace
        return self.square(state @ self.decoding.T + self.mean)

    def background(self, square: NDArray[np.generic], mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> FloatArray:
        """Latent (B, 32, 16, 16) of the photo's cells outside the mask, zero elsewhere.

        mask, inside: (B, 16, 16).  Cells do not overlap, so nothing else has an influence.
        """
        return np.asarray(self.encode(square) * (inside & ~mask)[:, None])

    def blocks(self, square: FloatArray) -> FloatArray:
        """Squares (B, S, S, 3) cut into cells (B, 16, 16, 3 * cell**2)."""
        batch, side, _, _ = square.shape
        if side != GRID * self.cell:
            raise ValueError(f"square is {side} px, cells of {self.cell} px need {GRID * self.cell}")
        blocks = square.reshape(batch, GRID, self.cell, GRID, self.cell, 3).transpose(0, 1, 3, 2, 4, 5)
        return blocks.reshape(batch, GRID, GRID, -1)

    def square(self, blocks: FloatArray) -> FloatArray:
        """The inverse of `blocks`."""
        batch = blocks.shape[0]
        square = blocks.reshape(batch, GRID, GRID, self.cell, self.cell, 3).transpose(0, 1, 3, 2, 4, 5)
        return square.reshape(batch, GRID * self.cell, GRID * self.cell, 3)
