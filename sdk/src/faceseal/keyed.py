"""Keyed maps of the noise: what makes the anonymized face depend on a secret.

A map takes the noise of one face's masked cells, an array (C, n) with one row per component
of the state and one column per masked cell, and returns another of the same shape that is
as Gaussian as the first.  With the same keystream, `inverse` undoes `forward`.

This hides a face behind another one; it is not encryption of the picture.  See
docs/threat-model.md for what each map still shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray
from scipy.linalg import hadamard
from scipy.special import ndtri

FloatArray = NDArray[np.float64]

ROUNDS = 3
"""Rounds of permutation, signs and Hadamard transform."""
NORM_PERIOD = 1.4
"""Of the keyed shift of the radii's log norm: a factor of four, where photos differ by .23 (standard deviation)."""
PHOTO_RADIUS_SPREAD = 0.15
"""Standard deviation of the log radius of one component of an inverted photo (measured)."""


class Keystream:
    """ChaCha20 (RFC 8439) under a 32-byte key, read as numbers; one use per key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()

    def integers(self, *shape: int) -> NDArray[np.uint64]:
        """Uniform 64-bit integers."""
        count = int(np.prod(shape))
        return np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8").reshape(shape)

    def uniform(self, *shape: int) -> FloatArray:
        """Uniform on [0, 1), 53 bits."""
        return np.asarray((self.integers(*shape) >> np.uint64(11)) * 2.0**-53)

    def signs(self, *shape: int) -> FloatArray:
        """-1 or +1."""
        return np.asarray((self.integers(*shape) >> np.uint64(63)) * 2.0 - 1.0)

    def normal(self, *shape: int) -> FloatArray:
        """Standard normal, by inversion."""
        return np.asarray(ndtri(self.uniform(*shape) + 2.0**-54))


@dataclass(frozen=True)
class KeyedMap:
    """A map of noise (C, n) and its inverse, both driven by a keystream.

    estimate: the inverse for noise that comes with large errors, of a picture that was coded
    again or resized since it was sealed.
    """

    name: str
    forward: Callable[[FloatArray, Keystream], FloatArray]
    inverse: Callable[[FloatArray, Keystream], FloatArray]
    estimate: Callable[[FloatArray, Keystream], FloatArray]


def _flip(noise: FloatArray, stream: Keystream) -> FloatArray:
    return noise * stream.signs(*noise.shape)


@cache
def _hadamard(size: int) -> FloatArray:
    matrix: FloatArray = hadamard(size, dtype=np.float64)
    matrix.setflags(write=False)
    return matrix


def hadamard_blocks(rows: FloatArray) -> FloatArray:
    """Orthonormal Walsh-Hadamard transform of rows (C, n), in blocks of powers of two.

    n is cut into its binary digits, largest first: 118 = 64 + 32 + 16 + 4 + 2.  The
    transform is its own inverse.
    """
    out, start = np.empty_like(rows), 0
    for bit in reversed(range(rows.shape[1].bit_length())):
        size = 1 << bit
        if rows.shape[1] & size:
            block = slice(start, start + size)
            # The matrix of a large block is the Kronecker product of two small ones.
            left, right = _hadamard(1 << bit // 2), _hadamard(1 << (bit - bit // 2))
            parts = rows[:, block].reshape(-1, len(left), len(right))
            out[:, block] = (left @ parts @ right / np.sqrt(size)).reshape(-1, size)
            start += size
    return out


Mixing = list[tuple[NDArray[np.intp], FloatArray]]
"""(permutation, signs) of each round, and of a last one without a transform."""


def draw_mixing(shape: tuple[int, ...], stream: Keystream) -> Mixing:
    """A mixing of arrays (C, n), each row by itself."""
    return [
        (np.argsort(stream.integers(*shape), axis=1, kind="stable"), stream.signs(*shape)) for _ in range(ROUNDS + 1)
    ]


def mix(noise: FloatArray, mixing: Mixing) -> FloatArray:
    """Rotate each row of (C, n): an orthogonal map."""
    *rounds, last = mixing
    for order, signs in rounds:
        noise = hadamard_blocks(np.take_along_axis(noise, order, axis=1) * signs)
    return np.take_along_axis(noise, last[0], axis=1) * last[1]


def unmix(noise: FloatArray, mixing: Mixing) -> FloatArray:
    """The inverse of `mix`."""
    *rounds, last = mixing
    noise = _unpermute(noise * last[1], last[0])
    for order, signs in reversed(rounds):
        noise = _unpermute(hadamard_blocks(noise) * signs, order)
    return noise


def _unpermute(noise: FloatArray, order: NDArray[np.intp]) -> FloatArray:
    out = np.empty_like(noise)
    np.put_along_axis(out, order, noise, axis=1)
    return out


def mix_radii(
    noise: FloatArray, exchange: Callable[[FloatArray], FloatArray], spread: tuple[float, float]
) -> FloatArray:
    """Exchange the rows' log radii among the rows by an invertible `exchange` of (1, C) arrays.

    spread: standard deviations of a row's log radius before and after.  The radii are taken
    relative to that of standard normal noise, so that 0 stays 0.
    """
    radius = _radius(noise)
    moved = np.exp(exchange(np.log(radius)[None] / spread[0])[0] * spread[1])
    return np.asarray(noise * (moved / radius)[:, None])


def _radius(noise: FloatArray) -> FloatArray:
    """Of each row (C,), relative to that of standard normal noise."""
    return np.asarray(np.maximum(np.linalg.norm(noise, axis=1) / np.sqrt(noise.shape[1]), 1e-9))


def _spread(noise: FloatArray) -> tuple[float, float]:
    gaussian = 1.0 / math.sqrt(2.0 * noise.shape[1])
    return max(PHOTO_RADIUS_SPREAD, gaussian), gaussian


def shift_norm(vector: FloatArray, shift: float) -> FloatArray:
    """`vector` (1, C) with its log norm moved by `shift`, modulo `NORM_PERIOD` around that of standard normal ones.

    The norm is all that a rotation leaves of a vector.  A photo's lies within the middle
    period (98 of 100) or in the one above, and that is all that shows of it afterwards.
    """
    norm = max(float(np.linalg.norm(vector)), 1e-9)
    turns = math.log(norm / math.sqrt(vector.size)) / NORM_PERIOD + 0.5
    period = math.floor(turns)
    moved = period + (turns - period + shift / NORM_PERIOD) % 1.0
    return vector * (math.exp((moved - turns) * NORM_PERIOD))


def _rotate(noise: FloatArray, stream: Keystream) -> FloatArray:
    cells, rows = draw_mixing(noise.shape, stream), draw_mixing((1, noise.shape[0]), stream)
    shift = NORM_PERIOD * float(stream.uniform(1)[0])
    return mix_radii(mix(noise, cells), lambda radii: shift_norm(mix(radii, rows), shift), _spread(noise))


def _rotate_back(noise: FloatArray, stream: Keystream) -> FloatArray:
    cells, rows = draw_mixing(noise.shape, stream), draw_mixing((1, noise.shape[0]), stream)
    shift = NORM_PERIOD * float(stream.uniform(1)[0])
    before, after = _spread(noise)
    return unmix(mix_radii(noise, lambda radii: unmix(shift_norm(radii, -shift), rows), (after, before)), cells)


def _estimate(noise: FloatArray, stream: Keystream) -> FloatArray:
    """`_rotate_back`, but for radii that errors have spread: each row then gets the usual one.

    Errors in a radius grow when the radii are exchanged back, and an error in their norm
    that crosses the border of a period makes all of them wrong by a factor of four; the
    usual radius is wrong by a seventh.
    """
    radii = np.log(_radius(noise)) / _spread(noise)[1]
    if np.linalg.norm(radii) <= math.sqrt(len(radii)) * math.exp(NORM_PERIOD / 2):
        return _rotate_back(noise, stream)
    rows = unmix(noise, draw_mixing(noise.shape, stream))
    return np.asarray(rows / _radius(rows)[:, None])


SIGNFLIP = KeyedMap("signflip", _flip, _flip, _flip)
"""The published map (arXiv 2510.01031): a secret sign per number.  Shows every magnitude."""
ROTATION = KeyedMap("rotation", _rotate, _rotate_back, _estimate)
"""Keyed rotation within each component, and of the components' log radii among each other, whose norm is shifted."""
KEYED_MAPS = (SIGNFLIP, ROTATION)
"""In the order of faceseal.envelope.header.KEYED_MAP_NAMES."""
