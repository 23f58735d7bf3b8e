"""The published process (arXiv 2510.01031), as the baseline that ours is measured against.

    whole square --explicit DDIM inversion, every state kept--> z_T
    z_T --secret signs inside the mask--> z_T'
    z_T' --denoising; after each step, the kept states are put back outside the mask--> square'

Restoring is the same again, from the anonymized square.  Two things keep it from being exact:
explicit inversion is not the inverse of denoising, and the second time the states that are
put back come from another picture.  There is no header and no file for it.

It runs on the velocity of the whole square: a pretrained model's own, or that of the packaged
network with everything in the photo masked and no landmarks, which it was trained for on
some of the faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from faceseal.exchange import Exchange, Face, array, compose
from faceseal.keyed import SIGNFLIP
from faceseal.model import Model
from faceseal.ode import Solver

SCHEME = "labarbarie2025"
STEPS = 50
"""Of inversion and of denoising, as published."""


def anonymize(model: Model, faces: Sequence[Face], steps: int = STEPS) -> list[NDArray[np.uint8]]:
    """Squares (S, S, 3) uint8 with another face inside the mask, untouched outside.

    All faces are worked on in one batch; their squares may differ in size.
    """
    solver = Solver(steps=steps, start=0.0, bend=1.0, tolerance=1.0, iterations=1)
    exchange = Exchange(model, solver, SIGNFLIP)
    whole = [replace(face, mask=face.inside, landmarks=np.full_like(face.landmarks, np.nan)) for face in faces]
    mask = exchange.mask(faces)
    with torch.inference_mode():
        velocity, times = exchange.velocity(whole), solver.grid()
        kept = [exchange.tensor(exchange.latents(whole)) * exchange.mask(whole)]
        for before, after in pairwise(times):
            # The network is asked about the state that it has, for the time that it goes to.
            kept.append(kept[-1] + (after - before) * velocity(kept[-1], after))
        signed = exchange.tensor(exchange.mapped(array(kept[-1]), faces))
        state = signed * mask + kept[-1] * (1 - mask)
        for k in range(steps, 0, -1):
            state = state - (times[k] - times[k - 1]) * velocity(state, times[k])
            state = state * mask + kept[k - 1] * (1 - mask)
    return [compose(f, model.codec(f.cell), z) for f, z in zip(faces, array(state), strict=True)]


def restore(model: Model, faces: Sequence[Face], steps: int = STEPS) -> list[NDArray[np.uint8]]:
    """What the anonymized faces come from, as nearly as the process gets: signs are their own inverse."""
    return anonymize(model, faces, steps)
