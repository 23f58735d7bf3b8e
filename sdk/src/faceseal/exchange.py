"""Exchanging the face in a square for another one, and back: latent, ODE and keyed map together.

    picture --encode--> z --invert--> noise --keyed map--> noise' --generate--> z' --decode--> picture'

`anonymize` runs this line with the map, `restore` with its inverse.  Both see the same
background, mask and landmarks, so both integrate the same ODE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from faceseal import ode
from faceseal.grid import GRID
from faceseal.keyed import KeyedMap, Keystream
from faceseal.latent import COMPONENTS, CellCodec
from faceseal.model import Condition, Model, landmark_maps

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Face:
    """One face in its square.

    square: (S, S, 3) uint8, ``S = 16 * cell``; mask: (16, 16) bool, cells to replace;
    inside: (16, 16) bool, cells that lie in the photo, all of the mask among them;
    landmarks: (5, 2), in cells; stream_key: 32 secret bytes, of this face alone;
    public_seed: 32 bytes, for the part of the latent that a small cell cannot carry.
    """

    square: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    landmarks: FloatArray
    stream_key: bytes = field(repr=False)
    public_seed: bytes

    @property
    def cell(self) -> int:
        """Pixels per side of a cell."""
        return int(self.square.shape[0]) // GRID

    @property
    def masked_pixels(self) -> NDArray[np.bool_]:
        """The square's pixels (S, S) in masked cells."""
        return self.mask.repeat(self.cell, axis=0).repeat(self.cell, axis=1)


@dataclass(frozen=True, eq=False)
class Exchange:
    """A model, how its ODE is integrated, and the keyed map: all that both directions share."""

    model: Model
    solver: ode.Solver
    keyed_map: KeyedMap

    def anonymize(self, faces: Sequence[Face]) -> list[NDArray[np.uint8]]:
        """Squares (S, S, 3) uint8 with another face inside the mask, untouched outside.

        All faces are worked on in one batch; their squares may differ in size.
        """
        return self._run(faces, inverse=False)

    def restore(self, faces: Sequence[Face]) -> list[NDArray[np.uint8]]:
        """The inverse of `anonymize`, up to the rounding to 8 bits."""
        return self._run(faces, inverse=True)

    def carried(self, face: Face) -> NDArray[np.uint8]:
        """The square (S, S, 3) as the latent carries it: the best that `restore` can return."""
        codec = self.model.klt.codec(face.cell)
        return _compose(face, codec.decode(codec.encode(face.square[None]))[0])

    def _run(self, faces: Sequence[Face], *, inverse: bool) -> list[NDArray[np.uint8]]:
        codecs = [self.model.klt.codec(face.cell) for face in faces]
        latents = np.concatenate([c.encode(f.square[None]) for c, f in zip(codecs, faces, strict=True)])
        condition = self._condition(latents, faces)
        velocity = self._velocity(condition, codecs, faces)
        with torch.inference_mode():
            state = self._tensor(latents) * condition.mask
            noise = ode.invert(velocity, state, self.solver).noise.cpu().double().numpy()
            for index, (codec, face) in enumerate(zip(codecs, faces, strict=True)):
                noise[index] = _map_noise(noise[index], codec, face, self.keyed_map, inverse=inverse)
            made = ode.generate(velocity, self._tensor(noise), self.solver)
            result = (made + condition.background).cpu().double().numpy()
        return [_compose(f, c.decode(result[i : i + 1])[0]) for i, (c, f) in enumerate(zip(codecs, faces, strict=True))]

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float().to(self.model.device)

    def _condition(self, latents: FloatArray, faces: Sequence[Face]) -> Condition:
        mask = self._tensor(np.stack([face.mask for face in faces])[:, None].astype(np.float64))
        seen = self._tensor(np.stack([face.inside & ~face.mask for face in faces])[:, None].astype(np.float64))
        points = self._tensor(np.stack([face.landmarks for face in faces]))
        return Condition(self._tensor(latents) * seen, mask, landmark_maps(points))

    def _velocity(self, condition: Condition, codecs: Sequence[CellCodec], faces: Sequence[Face]) -> ode.Velocity:
        """The model's velocity, within what each face's cells can carry.

        The rest of the latent follows a straight line from zero to public noise, which both
        directions know, so that the network sees states like those of its training.
        """
        if all(codec.rank == COMPONENTS for codec in codecs):
            return lambda state, time: self.model.velocity(state, time, condition)
        carried = self._tensor(np.stack([codec.subspace @ codec.subspace.T for codec in codecs]))
        public = self._tensor(np.stack([Keystream(f.public_seed).normal(COMPONENTS, GRID, GRID) for f in faces]))
        rest = (public - torch.einsum("bij,bjyx->biyx", carried, public)) * condition.mask

        def velocity(state: torch.Tensor, time: float) -> torch.Tensor:
            full = self.model.velocity(state + time * rest, time, condition)
            return torch.einsum("bij,bjyx->biyx", carried, full)

        return velocity


def _map_noise(noise: FloatArray, codec: CellCodec, face: Face, keyed_map: KeyedMap, *, inverse: bool) -> FloatArray:
    apply = keyed_map.inverse if inverse else keyed_map.forward
    rows = codec.subspace.T @ noise[:, face.mask]
    out = np.zeros_like(noise)
    out[:, face.mask] = codec.subspace @ apply(rows, Keystream(face.stream_key))
    return out


def _compose(face: Face, picture: FloatArray) -> NDArray[np.uint8]:
    """`picture` (S, S, 3) inside the mask, rounded and clipped; the given square outside."""
    return np.where(face.masked_pixels[..., None], np.clip(np.rint(picture), 0, 255).astype(np.uint8), face.square)
