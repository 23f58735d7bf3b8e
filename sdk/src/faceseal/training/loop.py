"""Flow-matching training of the velocity network, resumable at any moment."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from faceseal.device import device_named
from faceseal.errors import TrainingDataError
from faceseal.grid import GRID
from faceseal.latent import KLT, PATCH
from faceseal.model import Condition, FaceModel, VelocityNetwork, landmark_maps, save_model
from faceseal.training.data import Augmentation, AugmentedBatches, FaceSquares, patch_moments
from faceseal.training.muon import optimizers
from faceseal.training.report import draw_loss_curve, draw_samples


@dataclass(frozen=True)
class Recipe:
    """One training run.

    learning_rate rises over `warmup` steps, stays, and falls to zero over the last
    `cooldown` share of `steps`.  The network forgets the landmarks of `landmark_dropout` of
    the faces, and makes the whole square, without a background, of `background_dropout`.
    `uniform_times` of the times are uniform on [0, 1], the others logit-normal.
    """

    steps: int = 20_000
    batch: int = 32
    learning_rate: float = 1e-3
    warmup: int = 200
    cooldown: float = 0.25
    weight_decay: float = 0.01
    ema: float = 0.9995
    landmark_dropout: float = 0.1
    background_dropout: float = 0.05
    uniform_times: float = 0.2
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at `step`."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, (self.steps - step) / max(1.0, self.cooldown * self.steps))
        return self.learning_rate * rise * max(fall, 0.0)


class SquareEncoder:
    """`CellCodec.encode` for training squares (B, 128, 128, 3) uint8, in float32 on the device they are on."""

    def __init__(self, klt: KLT, device: torch.device) -> None:
        codec = klt.codec(PATCH)
        self._mean = torch.from_numpy(codec.mean).float().to(device)
        self._encoding = torch.from_numpy(codec.subspace @ codec.encoding).float().to(device)

    def __call__(self, squares: Tensor) -> Tensor:
        """Latents (B, 32, 16, 16)."""
        cells = squares.float().reshape(-1, GRID, PATCH, GRID, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
        return ((cells.flatten(3) - self._mean) @ self._encoding.T).permute(0, 3, 1, 2).contiguous()


def condition_of(latent: Tensor, points: Tensor, mask: Tensor, inside: Tensor) -> Condition:
    """The condition of latents (B, 32, 16, 16); points: (B, 7, 2) in pixels; mask and inside: (B, 16, 16) bool."""
    seen = (inside & ~mask)[:, None].float()
    return Condition(latent * seen, mask[:, None].float(), landmark_maps(points.float() / PATCH))


def draw_times(count: int, uniform: float, generator: torch.Generator) -> Tensor:
    """Times (count,) in (0, 1), on the generator's device."""
    where = generator.device
    normal = torch.sigmoid(torch.randn(count, generator=generator, device=where))
    even = torch.rand(count, generator=generator, device=where)
    return torch.where(torch.rand(count, generator=generator, device=where) < uniform, even, normal)


def component_weights(klt: KLT) -> Tensor:
    """(32,) with mean 1, in proportion to what a component's error costs in grey levels.

    The latent is whitened, so without weights the many faint components outvote the few
    that draw the face.
    """
    return torch.from_numpy(klt.scale / klt.scale.mean()).float()


def flow_loss(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    latent: Tensor,
    condition: Condition,
    times: Tensor,
    noise: Tensor,
    weights: Tensor,
) -> Tensor:
    """Squared error of the velocity, averaged over the mask and, by `weights`, over components."""
    at = times[:, None, None, None]
    state = ((1 - at) * latent + at * noise) * condition.mask
    error = (network(state, times, condition.stacked()).float() - (noise - latent)) * condition.mask
    weighted = error.square() * weights[:, None, None]
    return torch.as_tensor(weighted.sum() / (condition.mask.sum() * latent.shape[1]))


class Training:
    """The state of one run, kept in ``folder/checkpoint.pt``.

    start: the model whose weights and latent a new run begins with; compiled: whether
    torch.compile makes the steps faster, which needs a C++ compiler; workers: processes that
    augment faces, each about 700 a second.
    """

    def __init__(
        self,
        squares: FaceSquares,
        folder: Path,
        recipe: Recipe,
        device: str = "cpu",
        *,
        start: FaceModel | None = None,
        compiled: bool = False,
        workers: int = 1,
    ) -> None:
        if len(squares) < 2 * recipe.batch:
            raise TrainingDataError(f"{len(squares)} faces are too few to train on; give at least {2 * recipe.batch}")
        self.recipe, self.folder, self.device, self.workers = recipe, folder, device_named(device), workers
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.train, self.held_out = squares.split(64)
        self.network = VelocityNetwork(start.network.architecture if start else None).to(self.device)
        if start is not None:
            self.network.load_state_dict(start.network.state_dict())
        self.velocity = torch.compile(self.network) if compiled else self.network
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizers = optimizers(self.network, recipe.learning_rate, recipe.weight_decay)
        self.step = 0
        self.losses: list[float] = []
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            self._resume(torch.load(checkpoint, map_location=self.device, weights_only=True))
        elif start is not None:
            self.klt = start.klt
        else:
            self.klt = KLT.from_moments(*patch_moments(self.train))
        self.weights = component_weights(self.klt).to(self.device)

    def _resume(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.step, self.losses = saved["step"], saved["losses"]
        self.klt = KLT(*(value.numpy() for value in saved["klt"]))

    def save(self) -> None:
        """Write checkpoint, weights, loss curve and samples; a crash leaves the previous ones."""
        saved = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "losses": self.losses,
            "klt": [torch.from_numpy(v) for v in (self.klt.mean, self.klt.basis, self.klt.scale)],
            "recipe": asdict(self.recipe),
        }
        torch.save(saved, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")
        save_model(self.folder / "model.safetensors", self.average, self.klt, self.folder.name)
        draw_loss_curve(self.losses, self.folder / "loss.png")
        draw_samples(self.average, self.klt.codec(PATCH), self.held_out, self.folder / "samples.png")

    def run(self, save_every: float = 600.0) -> None:
        """Train to the recipe's last step, saving every `save_every` seconds."""
        recipe, device = self.recipe, self.device
        batches = AugmentedBatches(self.train, recipe.batch, Augmentation(), recipe.seed + self.step)
        generator = torch.Generator(device).manual_seed(recipe.seed + self.step)
        pinned = device.type == "cuda"
        loader = DataLoader(batches, batch_size=None, num_workers=self.workers, prefetch_factor=4, pin_memory=pinned)
        encoder = SquareEncoder(self.klt, device)
        saved = time.monotonic()
        progress = tqdm(loader, total=recipe.steps, initial=self.step, unit="step", mininterval=10.0)
        for batch in progress:
            if self.step >= recipe.steps:
                break
            pixels, points, mask, inside = (part.to(device, non_blocking=True) for part in batch)
            forgotten = torch.rand(len(points), generator=generator, device=device)
            points = torch.where((forgotten < recipe.landmark_dropout)[:, None, None], math.nan, points)
            alone = torch.rand(len(points), generator=generator, device=device) < recipe.background_dropout
            mask = torch.where(alone[:, None, None], inside, mask)
            latent = encoder(pixels)
            condition = condition_of(latent, points, mask, inside)
            times = draw_times(len(latent), recipe.uniform_times, generator)
            noise = torch.randn(latent.shape, generator=generator, device=device)
            loss = self._update(latent, condition, times, noise)
            self.losses.append(loss)
            self.step += 1
            progress.set_postfix(loss=f"{np.mean(self.losses[-200:]):.4f}", refresh=False)
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def _update(self, latent: Tensor, condition: Condition, times: Tensor, noise: Tensor) -> float:
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = self.recipe.rate(self.step)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = flow_loss(self.velocity, latent, condition, times, noise, self.weights)
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        return float(loss.detach())
