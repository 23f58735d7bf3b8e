"""Flow-matching training of the velocity network, resumable at any moment."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from faceseal.errors import TrainingDataError
from faceseal.latent import KLT, PATCH, CellCodec
from faceseal.model import Condition, VelocityNetwork, landmark_maps, save_model
from faceseal.training.data import Augmentation, AugmentedBatches, FaceSquares, patch_moments
from faceseal.training.report import draw_loss_curve, draw_samples


@dataclass(frozen=True)
class Recipe:
    """One training run.

    learning_rate rises over `warmup` steps, stays, and falls to zero over the last
    `cooldown` share of `steps`.  The network forgets the landmarks of `landmark_dropout` of
    the faces.  `uniform_times` of the times are uniform on [0, 1], the others logit-normal.
    """

    steps: int = 20_000
    batch: int = 32
    learning_rate: float = 5e-4
    warmup: int = 200
    cooldown: float = 0.25
    weight_decay: float = 0.01
    ema: float = 0.9995
    landmark_dropout: float = 0.1
    uniform_times: float = 0.2
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at `step`."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, (self.steps - step) / max(1.0, self.cooldown * self.steps))
        return self.learning_rate * rise * max(fall, 0.0)


def condition_of(
    codec: CellCodec, pixels: NDArray[np.uint8], points: Tensor, mask: Tensor, inside: Tensor
) -> tuple[Tensor, Condition]:
    """(latent (B, 32, 16, 16), condition) of squares (B, 128, 128, 3); points (B, 5, 2) in pixels."""
    latent = torch.from_numpy(codec.encode(pixels)).float()
    seen = (inside & ~mask)[:, None].float()
    return latent, Condition(latent * seen, mask[:, None].float(), landmark_maps(points.float() / PATCH))


def draw_times(count: int, uniform: float, generator: torch.Generator) -> Tensor:
    """Times (count,) in (0, 1)."""
    normal = torch.sigmoid(torch.randn(count, generator=generator))
    even = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < uniform, even, normal)


def component_weights(klt: KLT) -> Tensor:
    """(32,) with mean 1, in proportion to what a component's error costs in grey levels.

    The latent is whitened, so without weights the many faint components outvote the few
    that draw the face.
    """
    return torch.from_numpy(klt.scale / klt.scale.mean()).float()


def flow_loss(
    network: VelocityNetwork, latent: Tensor, condition: Condition, times: Tensor, noise: Tensor, weights: Tensor
) -> Tensor:
    """Squared error of the velocity, averaged over the mask and, by `weights`, over components."""
    at = times[:, None, None, None]
    state = ((1 - at) * latent + at * noise) * condition.mask
    error = (network(state, times, condition.stacked()).float() - (noise - latent)) * condition.mask
    weighted = error.square() * weights[:, None, None]
    return torch.as_tensor(weighted.sum() / (condition.mask.sum() * latent.shape[1]))


class Training:
    """The state of one run, kept in ``folder/checkpoint.pt``."""

    def __init__(self, squares: FaceSquares, folder: Path, recipe: Recipe, device: str = "cpu") -> None:
        if len(squares) < 2 * recipe.batch:
            raise TrainingDataError(f"{len(squares)} faces are too few to train on; give at least {2 * recipe.batch}")
        self.recipe, self.folder, self.device = recipe, folder, torch.device(device)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.train, self.held_out = squares.split(64)
        self.network = VelocityNetwork().to(self.device)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.losses: list[float] = []
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            self._resume(torch.load(checkpoint, map_location=self.device, weights_only=True))
        else:
            self.klt = KLT.from_moments(*patch_moments(self.train))
        self.weights = component_weights(self.klt).to(self.device)

    def _resume(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.losses = saved["step"], saved["losses"]
        self.klt = KLT(*(value.numpy() for value in saved["klt"]))

    def save(self) -> None:
        """Write checkpoint, weights, loss curve and samples; a crash leaves the previous ones."""
        saved = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
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
        recipe, codec = self.recipe, self.klt.codec(PATCH)
        batches = AugmentedBatches(self.train, recipe.batch, Augmentation(), recipe.seed + self.step)
        generator = torch.Generator().manual_seed(recipe.seed + self.step)
        loader = DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=4)
        saved = time.monotonic()
        progress = tqdm(loader, total=recipe.steps, initial=self.step, unit="step", mininterval=10.0)
        for pixels, points, mask, inside in progress:
            if self.step >= recipe.steps:
                break
            points[torch.rand(len(points), generator=generator) < recipe.landmark_dropout] = math.nan
            latent, condition = condition_of(codec, pixels.numpy(), points, mask, inside)
            times = draw_times(len(latent), recipe.uniform_times, generator)
            noise = torch.randn(latent.shape, generator=generator)
            loss = self._update(latent, condition, times, noise)
            self.losses.append(loss)
            self.step += 1
            progress.set_postfix(loss=f"{np.mean(self.losses[-200:]):.4f}", refresh=False)
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def _update(self, latent: Tensor, condition: Condition, times: Tensor, noise: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        there = Condition(*(v.to(self.device) for v in (condition.background, condition.mask, condition.landmarks)))
        latent, times, noise = (v.to(self.device) for v in (latent, times, noise))
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = flow_loss(self.network, latent, there, times, noise, self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        return float(loss.detach())
