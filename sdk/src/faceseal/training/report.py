"""Pictures of a training run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from faceseal import ode
from faceseal.faces.geometry import ellipse_mask
from faceseal.latent import CellCodec
from faceseal.model import Condition, VelocityNetwork, landmark_maps
from faceseal.training.data import SIDE, FaceSquares

SAMPLER = ode.Solver(steps=30, start=0.02, bend=1.5, tolerance=1e-3, iterations=1)


def draw_loss_curve(losses: list[float], path: Path) -> None:
    """The mean loss of every hundredth of the run, log-log, as PNG."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    parts = np.array_split(np.array(losses), max(1, min(len(losses), 200)))
    ends = np.cumsum([len(part) for part in parts])
    axes.loglog(ends, [part.mean() for part in parts])
    axes.set(xlabel="step", ylabel="mean squared error of the velocity", title=f"{len(losses)} steps")
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=110)


def draw_samples(network: VelocityNetwork, codec: CellCodec, faces: FaceSquares, path: Path, count: int = 8) -> None:
    """Rows of held-out squares: as given, and with two generated faces each."""
    pixels, points = faces.pixels[-count:], faces.landmarks[-count:]
    mask = torch.from_numpy(np.stack([ellipse_mask(p[:5], SIDE) for p in points]))[:, None].float()
    latent = torch.from_numpy(codec.encode(pixels)).float()
    condition = Condition(latent * (1 - mask), mask, landmark_maps(torch.from_numpy(points).float() / codec.cell))
    device = next(network.parameters()).device
    stacked = condition.stacked().to(device)
    rows = [pixels]
    for seed in (0, 1):
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed)) * mask

        @torch.no_grad()
        def velocity(state: torch.Tensor, time: float) -> torch.Tensor:
            times = torch.full((count,), time, device=device)
            out: torch.Tensor = network(state.to(device), times, stacked).cpu()
            return out * mask

        made = ode.generate(velocity, noise, SAMPLER) + condition.background
        rows.append(np.clip(np.rint(codec.decode(made.double().numpy())), 0, 255).astype(np.uint8))
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    Image.fromarray(sheet).save(path)
