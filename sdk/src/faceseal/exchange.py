"""Exchanging the face in a square for another one, and back: latent, ODE and keyed map together.

    picture --encode--> z --invert--> noise --keyed map--> noise' --generate--> z' --decode--> picture'

`anonymize` runs this line with the map, `restore` with its inverse.  Both see the same
background, mask and landmarks.  There are two ODEs: the model's own, between the original and
its noise, and a guided one, between the anonymized face and its (see `faceseal.guidance`).
Both directions integrate each of them on the same grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from faceseal import carrier, ode
from faceseal.grid import GRID
from faceseal.guidance import UNGUIDED, Guidance
from faceseal.keyed import KeyedMap, Keystream
from faceseal.latent import CellCodec
from faceseal.model import (
    Codec,
    Condition,
    GuidableModel,
    Model,
    RefiningCodec,
    landmark_maps,
    require_guidable,
    require_refinable,
)

FloatArray = NDArray[np.float64]

SURPRISE_TIMES = (0.5, 0.7)
"""Where the velocity's error is asked for; see docs/adr/0010-the-least-surprising-of-several-faces.md."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face in its square.

    square: (S, S, 3) uint8, ``S = 16 * cell``; mask: (16, 16) bool, cells to replace;
    inside: (16, 16) bool, cells that may be looked at: they lie in the photo, and no other face in
    them is exchanged later; all of the mask is among them;
    landmarks: (7, 2), in cells; stream_key: 32 secret bytes, of this face alone;
    public_seed: 32 bytes, for noise that both directions know: of the background, and of what a
    small cell cannot carry; recoded: the square was coded again or resized since it was
    sealed, so that restoring must put up with large errors.
    """

    square: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    landmarks: FloatArray
    stream_key: bytes = field(repr=False)
    public_seed: bytes
    recoded: bool = False

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
    """A model, how its ODE is integrated, and the keyed map: all that both directions share.

    refine: with a model whose latent is not linear, iterations at most of the search for the
    latent that decodes to the given square, where 0 takes the encoder's word for it;
    guidance: of the anonymized faces.
    Every method works on all faces in one batch; their squares may differ in size.
    Raises ModelError if there is nothing to refine, or if the model cannot guide.
    """

    model: Model
    solver: ode.Solver
    keyed_map: KeyedMap
    refine: int = 0
    guidance: Guidance = UNGUIDED

    def __post_init__(self) -> None:
        require_refinable(self.model, self.refine)
        require_guidable(self.model, self.guidance)

    def anonymize(self, faces: Sequence[Face]) -> list[NDArray[np.uint8]]:
        """Squares (S, S, 3) uint8 with another face inside the mask, untouched outside."""
        return self.shown(self.anonymous(self.mapped(self.noise(faces), faces), faces), faces, carrying=True)

    def restore(self, faces: Sequence[Face]) -> list[NDArray[np.uint8]]:
        """The inverse of `anonymize`, up to the rounding to 8 bits."""
        return self.generate(self.mapped(self.anonymous_noise(faces), faces, inverse=True), faces)

    def noise(self, faces: Sequence[Face]) -> FloatArray:
        """The noise (B, C, L, L) that the original faces come from, zero outside the mask.

        It depends on `Face.public_seed`, but not on `Face.stream_key`: one inversion serves
        any number of keys, as long as the public seed stays.
        """
        return self._inverted(faces, UNGUIDED)

    def anonymous_noise(self, faces: Sequence[Face]) -> FloatArray:
        """As `noise`, if what the squares show are anonymized faces."""
        return self._inverted(faces, self.guidance)

    def mapped(self, noise: FloatArray, faces: Sequence[Face], *, inverse: bool = False) -> FloatArray:
        """Noise (B, C, L, L) after each face's keyed map, or its inverse."""
        return np.stack([self._map(one, face, inverse=inverse) for one, face in zip(noise, faces, strict=True)])

    def generate(self, noise: FloatArray, faces: Sequence[Face]) -> list[NDArray[np.uint8]]:
        """Squares (S, S, 3) uint8 with the original faces inside the mask that `noise` (B, C, L, L) becomes."""
        return self.shown(self._generated(noise, faces, UNGUIDED), faces)

    def anonymous(self, noise: FloatArray, faces: Sequence[Face]) -> FloatArray:
        """Latents (B, C, L, L) of anonymized faces, from `noise` (B, C, L, L); outside the mask they mean nothing."""
        return self._generated(noise, faces, self.guidance)

    def glimpse(self, noise: FloatArray, faces: Sequence[Face], time: float) -> ode.Glimpse:
        """Anonymized faces on their way from `noise` (B, C, L, L), as soon as the network is told of `time`."""
        with torch.inference_mode():
            velocity, shift = self.velocity(faces, self.guidance), self.guidance.shift
            return ode.glimpse(velocity, self.tensor(noise), self.solver, shift, time)

    def seen(self, seen: ode.Glimpse) -> FloatArray:
        """The latents (B, C, L, L) that a glimpse promises."""
        return array(seen.picture)

    def finished(self, seen: ode.Glimpse, faces: Sequence[Face]) -> FloatArray:
        """What `anonymous` would have made of the noise that was glimpsed at."""
        with torch.inference_mode():
            return array(ode.finish(self.velocity(faces, self.guidance), seen, self.solver, self.guidance.shift))

    def surprise(self, latents: FloatArray, faces: Sequence[Face]) -> FloatArray:
        """How unlikely the model finds each of `latents` (B, C, L, L), in arbitrary units (B,).

        That is the error of its velocity on the latent with noise added, which bounds the
        likelihood (Ho et al., arXiv 2006.11239, equation 14), each component weighted by how
        much of it shows.  The noise is the same for all, so that the latents alone differ.
        """
        with torch.inference_mode():
            made, mask = self.tensor(latents), self.mask(faces)
            velocity, weight = self.velocity(faces), self.tensor(self.model.visibility)[:, None, None]
            carried, random = self._carried(faces), torch.Generator().manual_seed(0)
            total = torch.zeros(len(faces), device=made.device)
            for time in SURPRISE_TIMES:
                noise = carried(torch.randn(made.shape[1:], generator=random).to(made.device).expand_as(made))
                error = velocity(((1 - time) * made + time * noise) * mask, time) - (noise - made)
                total += (error * weight * mask).square().flatten(1).sum(dim=1) / mask.flatten(1).sum(dim=1)
            return array(total)

    def shown(self, latents: FloatArray, faces: Sequence[Face], *, carrying: bool = False) -> list[NDArray[np.uint8]]:
        """Squares (S, S, 3) uint8 that show `latents` (B, C, L, L) inside the mask, and are as given outside.

        carrying: whether the faces are to be restored from these pixels, which are then
        chosen for it where the latent leaves a choice (see `faceseal.carrier`).
        """
        show = _written if carrying else _smoothed
        surrounded = self._in_surroundings(latents, faces)
        return [show(f, self.model.codec(f.cell), one) for f, one in zip(faces, surrounded, strict=True)]

    def carried(self, face: Face) -> NDArray[np.uint8]:
        """The square (S, S, 3) as the latent carries it: the best that `restore` can return."""
        return self.shown(self.latents([face]), [face])[0]

    def latents(self, faces: Sequence[Face]) -> FloatArray:
        """Latents (B, C, L, L) of the faces' squares."""
        found = np.concatenate([self.model.codec(face.cell).encode(face.square[None]) for face in faces])
        if self.refine:
            for index, face in enumerate(faces):
                codec = cast(RefiningCodec, self.model.codec(face.cell))
                known = np.where(self._wide(face.mask), found[index], _background(codec, face))
                found[index] = codec.refined(known, face.square, face.mask, self.refine)
        return found

    def mask(self, faces: Sequence[Face]) -> torch.Tensor:
        """(B, 1, L, L), one inside the mask."""
        return self.tensor(np.stack([self._wide(face.mask) for face in faces])[:, None].astype(np.float64))

    def velocity(self, faces: Sequence[Face], guidance: Guidance = UNGUIDED) -> ode.Velocity:
        """The model's velocity, guided as `guidance` says, within what each face's cells can carry.

        The rest of the latent follows a straight line from zero to public noise, which both
        directions know, so that the network sees states like those of its training.
        """
        condition, carried = self._condition(faces), self._carried(faces)
        public = self._public_noise(faces)
        rest = (public - carried(public)) * condition.mask

        def velocity(state: torch.Tensor, time: float) -> torch.Tensor:
            whole = state + time * rest
            if guidance.at(time):
                return carried(
                    cast(GuidableModel, self.model).guided_velocity(whole, time, condition, guidance.strength)
                )
            return carried(self.model.velocity(whole, time, condition))

        return velocity

    def _inverted(self, faces: Sequence[Face], guidance: Guidance) -> FloatArray:
        state = self.tensor(self.latents(faces)) * self.mask(faces)
        with torch.inference_mode():
            return array(ode.invert(self.velocity(faces, guidance), state, self.solver, guidance.shift).noise)

    def _generated(self, noise: FloatArray, faces: Sequence[Face], guidance: Guidance) -> FloatArray:
        with torch.inference_mode():
            state = self.tensor(noise)
            return array(ode.generate(self.velocity(faces, guidance), state, self.solver, guidance.shift))

    def _carried(self, faces: Sequence[Face]) -> Callable[[torch.Tensor], torch.Tensor]:
        """The projection of (B, C, L, L) on what each face's cells can carry."""
        codecs = [self.model.codec(face.cell) for face in faces]
        if all(codec.rank == self.model.channels for codec in codecs):
            return lambda values: values
        projections = self.tensor(np.stack([codec.subspace @ codec.subspace.T for codec in codecs]))
        return lambda values: torch.einsum("bij,bjyx->biyx", projections, values)

    def tensor(self, values: FloatArray) -> torch.Tensor:
        """As float32 on the model's device."""
        return torch.from_numpy(np.ascontiguousarray(values)).float().to(self.model.device)

    def _in_surroundings(self, latents: FloatArray, faces: Sequence[Face]) -> FloatArray:
        """`latents` (B, C, L, L) inside each face's mask, its surroundings' latent outside."""
        return np.stack(
            [
                np.where(self._wide(face.mask), latent, _background(self.model.codec(face.cell), face))
                for latent, face in zip(latents, faces, strict=True)
            ]
        )

    def _map(self, noise: FloatArray, face: Face, *, inverse: bool) -> FloatArray:
        subspace, mask = self.model.codec(face.cell).subspace, self._wide(face.mask)
        back = self.keyed_map.estimate if face.recoded else self.keyed_map.inverse
        apply = back if inverse else self.keyed_map.forward
        out = np.zeros_like(noise)
        out[:, mask] = subspace @ apply(subspace.T @ noise[:, mask], Keystream(face.stream_key))
        return out

    def _wide(self, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Cells (16, 16) as positions of the latent (L, L)."""
        per_cell = self.model.side // GRID
        return cells.repeat(per_cell, axis=0).repeat(per_cell, axis=1)

    def _condition(self, faces: Sequence[Face]) -> Condition:
        background = np.stack([_background(self.model.codec(face.cell), face) for face in faces])
        points = np.stack([face.landmarks for face in faces])
        return Condition(
            self.tensor(background),
            self.mask(faces),
            landmark_maps(self.tensor(points)),
            self._public_noise(faces),
        )

    def _public_noise(self, faces: Sequence[Face]) -> torch.Tensor:
        shape = (self.model.channels, self.model.side, self.model.side)
        return self.tensor(np.stack([Keystream(face.public_seed).normal(*shape) for face in faces]))


def array(values: torch.Tensor) -> FloatArray:
    """As float64 numpy."""
    return np.asarray(values.cpu().double().numpy())


def _background(codec: Codec, face: Face) -> FloatArray:
    return np.asarray(codec.background(face.square[None], face.mask[None], face.inside[None])[0])


def compose(face: Face, codec: Codec, latent: FloatArray) -> NDArray[np.uint8]:
    """`latent` (C, L, L) as pixels (S, S, 3) inside the mask, rounded and clipped; the given square outside."""
    picture = np.clip(np.rint(codec.decode(latent[None])[0]), 0, 255).astype(np.uint8)
    return np.where(face.masked_pixels[..., None], picture, face.square)


def _smoothed(face: Face, codec: Codec, latent: FloatArray) -> NDArray[np.uint8]:
    """`compose` without seams between cells."""
    if not isinstance(codec, CellCodec):
        return compose(face, codec, latent)
    return carrier.smooth(codec, latent, face.square, face.mask)


def _written(face: Face, codec: Codec, latent: FloatArray) -> NDArray[np.uint8]:
    """`compose` for pixels that carry the latent to `Exchange.restore`."""
    if not isinstance(codec, CellCodec):
        return compose(face, codec, latent)
    grain = Keystream(hashlib.sha256(b"faceseal/1 grain" + face.stream_key).digest())
    return carrier.write(codec, latent, face.square, face.mask, face.inside, grain)
