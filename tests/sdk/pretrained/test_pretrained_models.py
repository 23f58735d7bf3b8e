"""Every kind of pretrained model, through the generator and through the whole product."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from faceseal import Photo, anonymize, ode, restore
from faceseal.anonymizer import read_sealed, restore_with_key
from faceseal.anonymizer.placing import masked_pixels
from faceseal.envelope.header import SolverRecord
from faceseal.errors import ModelMismatch
from faceseal.exchange import Exchange, Face, array
from faceseal.imagekey import ImageKey
from faceseal.keyed import ROTATION
from faceseal.profiles import Profile

ANY_FIDELITY = Profile("any", SolverRecord(4, 0.04, 1.5, 1e-3, 8), 0.0, 1)
"""An untrained autoencoder gives almost nothing back, so nothing is asked of it."""
EXACT = ode.Solver(steps=8, start=0.04, bend=1.5, tolerance=1e-6, iterations=32)
MASK = np.zeros((16, 16), dtype=bool)
MASK[3:15, 3:13] = True


@dataclass
class Keys:
    held: dict[UUID, ImageKey] = field(default_factory=dict)

    def create(self) -> ImageKey:
        key = ImageKey(uuid4(), uuid4().bytes + uuid4().bytes)
        return self.held.setdefault(key.key_id, key)

    def bind(self, key_id: UUID, sealed_digest: bytes, perceptual_hash: bytes | None = None) -> None:
        pass

    def release(self, key_id: UUID, _grant: str | None) -> ImageKey:
        return self.held[key_id]


def portrait() -> np.ndarray:
    return astronaut()[:256, 96:352]


def face(cell: int = 8, seed: int = 1) -> Face:
    head = Image.fromarray(astronaut()[40:168, 160:288]).resize((16 * cell, 16 * cell), Image.Resampling.LANCZOS)
    points = np.full((7, 2), 8.0)
    return Face(np.asarray(head), MASK, np.ones((16, 16), bool), points, bytes([seed]) * 32, bytes([7]) * 32)


def test_the_ode_and_the_keyed_map_return_the_latent_before_it_is_rounded(pretrained, kind):
    """To a thousandth of its size, in float32."""
    faces, machine = [face(8), face(5, seed=2)], Exchange(pretrained(kind), EXACT, ROTATION)
    with torch.inference_mode():
        velocity, latent = machine.velocity(faces), machine.tensor(machine.latents(faces)) * machine.mask(faces)
        noise = machine.mapped(array(ode.invert(velocity, latent, EXACT).noise), faces)
        other = ode.generate(velocity, machine.tensor(noise), EXACT)
        back = machine.mapped(array(ode.invert(velocity, other, EXACT).noise), faces, inverse=True)
        again = ode.generate(velocity, machine.tensor(back), EXACT)
    size = latent.square().mean().sqrt()
    assert (other - latent).square().mean().sqrt() > 0.1 * size
    assert (again - latent).square().mean().sqrt() < 1e-3 * size


def test_a_photo_is_sealed_and_restored(tmp_path, pretrained, kind):
    keys, model = Keys(), pretrained(kind)
    anonymize(Photo(portrait()), keys=keys, profile=ANY_FIDELITY, model=model).save(tmp_path / "sealed.png")
    content = read_sealed((tmp_path / "sealed.png").read_bytes())
    exact = restore(tmp_path / "sealed.png", keys=keys)
    alone = restore(tmp_path / "sealed.png", keys=keys, model=model, from_pixels=True)
    masked = masked_pixels(content.header.faces[0], content.pixels)
    assert content.header.model_digest == model.digest
    assert exact.exact
    assert np.array_equal(exact.pixels, portrait())
    assert not alone.exact
    assert alone.fidelity == content.header.fidelity
    assert np.array_equal(content.pixels[~masked], portrait()[~masked])
    assert (content.pixels != portrait()).any(axis=2)[masked].mean() > 0.8
    assert np.array_equal(alone.pixels[~masked], portrait()[~masked])
    wrong = restore_with_key(content, ImageKey(content.header.key_id, bytes(32)), model=model, force=True)
    assert not np.array_equal(wrong.pixels, alone.pixels)


def test_the_fidelity_that_a_file_states_is_what_restoring_from_its_pixels_reaches(pretrained):
    """On pixels nothing is lost but by rounding, so that even an untrained network restores a photo."""
    keys, model = Keys(), pretrained("ddpm")
    fine = Profile("fine", SolverRecord(4, 0.04, 1.5, 1e-5, 32), 0.0, 1)
    sealed = anonymize(Photo(portrait()), keys=keys, profile=fine, model=model)
    alone = restore(sealed, keys=keys, model=model, from_pixels=True)
    masked = masked_pixels(sealed.header.faces[0], sealed.pixels)
    error = alone.pixels[masked].astype(float) - portrait()[masked]
    assert sealed.header.fidelity == int(10 * np.log10(255**2 / np.mean(error**2)))


def test_a_photo_sealed_with_one_model_is_not_restored_with_another(pretrained):
    keys = Keys()
    sealed = anonymize(Photo(portrait()), keys=keys, profile=ANY_FIDELITY, model=pretrained("ldm"))
    with pytest.raises(ModelMismatch, match=pretrained("ldm").digest.hex()[:16]):
        restore(sealed, keys=keys, model=pretrained("ldm-v"), from_pixels=True)


def test_what_the_mask_hides_has_no_influence_on_what_both_directions_see(pretrained, kind):
    codec, random = pretrained(kind).codec(6), np.random.default_rng(0)
    square = face(6).square
    hidden = MASK.repeat(6, axis=0).repeat(6, axis=1)[..., None]
    other = np.where(hidden, random.integers(0, 256, square.shape, dtype=np.uint8), square)
    seen = np.ones((1, 16, 16), dtype=bool)
    one, two = (codec.background(s[None], MASK[None], seen) for s in (square, other))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, codec.background(255 - square[None], MASK[None], seen))


def test_a_new_face_is_decoded_within_its_surroundings(pretrained, kind):
    machine, original = Exchange(pretrained(kind), EXACT, ROTATION), face(8)
    codec, latents = machine.model.codec(8), machine.latents([original])
    per_cell = machine.model.side // 16
    mask = MASK.repeat(per_cell, axis=0).repeat(per_cell, axis=1)
    surroundings = codec.background(original.square[None], MASK[None], original.inside[None])
    whole = np.clip(np.rint(codec.decode(np.where(mask, latents, surroundings))[0]), 0, 255)
    (shown,) = machine.shown(np.where(mask, latents, 0.0), [original])
    assert np.array_equal(shown[original.masked_pixels], whole[original.masked_pixels])


def test_the_velocity_is_zero_outside_the_mask(pretrained, kind):
    machine = Exchange(pretrained(kind), EXACT, ROTATION)
    with torch.inference_mode():
        mask = machine.mask([face()])
        made = machine.velocity([face()])(machine.tensor(machine.latents([face()])) * mask, 0.5)
    assert not (made * (1 - mask)).any()
    assert made.isfinite().all()
    assert (made * mask).any()
