"""Decoder inversion, on autoencoders that have seen one picture for a moment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from faceseal import FAST, Photo, anonymize, ode, restore
from faceseal.anonymizer.generator import default_model
from faceseal.errors import ModelError
from faceseal.exchange import Exchange, Face
from faceseal.keyed import ROTATION
from faceseal.pretrained import load_pretrained
from faceseal.pretrained.refine import fit_latent

MASK = np.zeros((16, 16), dtype=bool)
MASK[3:15, 3:13] = True
SOLVER = ode.Solver(steps=4, start=0.04, bend=1.5, tolerance=1e-3, iterations=8)


def face(mirrored: bool = False) -> Face:
    square = astronaut()[40:168, 160:288][:, :: -1 if mirrored else 1].copy()
    return Face(square, MASK, np.ones((16, 16), bool), np.full((7, 2), 8.0), bytes([1]) * 32, bytes([7]) * 32)


@pytest.fixture(scope="module", params=["ldm", "inpainting"])
def model(request, checkpoint):
    """A model whose autoencoder was trained for a few seconds, so that encoding is an estimate and no more."""
    loaded = load_pretrained(checkpoint(request.param))
    stage = loaded.autoencoder
    network = stage.network.requires_grad_(True)
    picture = torch.from_numpy(astronaut()).permute(2, 0, 1).float() / 127.5 - 1
    optimizer, random = torch.optim.Adam(network.parameters(), 3e-3), np.random.default_rng(0)
    for _ in range(60):
        corners = random.integers(0, 512 - 2 * stage.pixels, (2, 2))
        crops = torch.stack([picture[:, y : y + 2 * stage.pixels, x : x + 2 * stage.pixels] for y, x in corners])
        crops = torch.nn.functional.avg_pool2d(crops, 2)
        loss = (stage.decode(stage.encode(crops)) - crops).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.requires_grad_(False)
    return loaded


def test_the_latent_of_an_8_bit_square_is_found_again(model):
    plain, refining = Exchange(model, SOLVER, ROTATION), Exchange(model, SOLVER, ROTATION, refine=40)
    made = plain.latents([face(mirrored=True)])
    (square,) = plain.shown(made, [face()])
    sealed = replace(face(), square=square)
    inside = MASK.repeat(model.side // 16, axis=0).repeat(model.side // 16, axis=1)
    estimate, found = (np.abs(e.latents([sealed]) - made)[0][:, inside].mean() for e in (plain, refining))
    assert found < 0.9 * estimate
    shown = refining.shown(refining.latents([sealed]), [sealed])[0]
    assert np.abs(shown.astype(float) - square)[sealed.masked_pixels].mean() < 3
    assert np.abs(plain.carried(sealed).astype(float) - square)[sealed.masked_pixels].mean() > 6


def test_refining_is_deterministic_and_keeps_what_is_outside_the_mask(model):
    refining = Exchange(model, SOLVER, ROTATION, refine=5)
    one, two = refining.latents([face()]), refining.latents([face()])
    inside = MASK.repeat(model.side // 16, axis=0).repeat(model.side // 16, axis=1)
    encoded = Exchange(model, SOLVER, ROTATION).latents([face()])
    assert np.array_equal(one, two)
    assert not np.array_equal(one[0][:, inside], encoded[0][:, inside])


def test_more_iterations_never_make_the_fit_worse():
    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(1))
    target, everywhere = torch.full((1, 3, 12, 12), 90.0), torch.ones(12, 12, dtype=torch.bool)
    errors = []
    for iterations in (0, 1, 3, 10):
        found = fit_latent(
            lambda z: 60 * torch.tanh(matrix @ z) + 80,
            torch.zeros(1, 3, 12, 12), target, everywhere, everywhere, iterations,
        )  # fmt: skip
        errors.append(float((60 * torch.tanh(matrix @ found) + 80 - target).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_where_encoding_is_exact_there_is_nothing_to_refine(pretrained):
    for linear in (default_model(), pretrained("ddpm")):
        with pytest.raises(ModelError, match="exact"):
            Exchange(linear, SOLVER, ROTATION, refine=10)


def test_restoring_says_so_before_a_use_of_the_grant_is_spent():
    class Keys:
        released = 0

        def create(self):
            from uuid import uuid4

            from faceseal.imagekey import ImageKey

            return ImageKey(uuid4(), bytes(range(32)))

        def bind(self, _key_id, _digest, _perceptual_hash=None):
            pass

        def release(self, _key_id, _grant):
            self.released += 1

    keys = Keys()
    sealed = anonymize(Photo(astronaut()[:256, 96:352]), keys=keys, profile=FAST)
    with pytest.raises(ModelError, match="refine"):
        restore(sealed, keys=keys, from_pixels=True, refine=10)
    assert keys.released == 0
