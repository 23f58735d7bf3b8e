"""A diffusion model's noise schedule, turned into the flow form that faceseal.ode integrates.

A variance-preserving model sees ``x = alpha z_0 + sigma n`` with ``alpha**2 + sigma**2 = 1``.
Divided by ``alpha + sigma`` this is ``z_t = (1 - t) z_0 + t n`` with
``t = sigma / (alpha + sigma)``, and the probability-flow ODE is ``dz/dt = n_hat - z0_hat``:
its Euler step from t to t' is exactly a DDIM step (arXiv 2010.02502, equation 12 with
``sigma = 0``) between the two noise levels.

`faceseal.ode` runs from time 0 to 1 and wants unit noise there, so

- time s of the ODE is flow time ``t = last * s``, where ``last`` is that of the schedule's
  last timestep (1 for flow models and zero-terminal-SNR schedules), or `LAST_EPSILON`;
- the state is ``scale * z`` with ``scale = 1 / hypot(1 - last, last)``, which has unit
  variance at s = 1, since there it is the model's own ``x_T``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor

from faceseal.errors import ModelError

LAST_EPSILON = 0.95
"""Flow time beyond which an epsilon model is not followed.

Its velocity is ``(eps - z) / (1 - t)``: where little signal is left, errors of the network
grow by its inverse, and a step can no longer be inverted.  Stable Diffusion ends at .936.
"""
PREDICTIONS = ("epsilon", "v_prediction", "flow")


@dataclass(frozen=True, eq=False)
class Schedule:
    """prediction: one of `PREDICTIONS`; levels: (T,), the flow time t of each timestep, rising."""

    prediction: str
    levels: NDArray[np.float64]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        """From the content of a ``scheduler_config.json``.  Raises ModelError for what cannot be inverted."""
        steps = int(config.get("num_train_timesteps", 1000))
        if "FlowMatch" in config.get("_class_name", ""):
            # Such a model is trained on timestep = t * steps; `shift` only places sampling steps.
            return cls("flow", np.arange(1, steps + 1) / steps)
        prediction = config.get("prediction_type", "epsilon")
        if prediction not in PREDICTIONS[:2]:
            raise ModelError(f"prediction type {prediction!r} is not supported; {', '.join(PREDICTIONS)} are")
        kept = {key: value for key, value in config.items() if key in _NOISE}
        try:
            alphas = np.asarray(DDIMScheduler.from_config(kept).alphas_cumprod, dtype=np.float64)
        except (NotImplementedError, TypeError, ValueError) as cause:
            raise ModelError(f"the scheduler's noise schedule is not known: {cause}") from cause
        alpha, sigma = np.sqrt(alphas), np.sqrt(1.0 - alphas)
        levels = sigma / (alpha + sigma)
        return cls(prediction, levels)

    @property
    def last(self) -> float:
        """Flow time at which the ODE's time is 1."""
        return min(float(self.levels[-1]), LAST_EPSILON if self.prediction == "epsilon" else 1.0)

    @property
    def scale(self) -> float:
        """State per unit of z."""
        return 1.0 / math.hypot(1.0 - self.last, self.last)

    def timestep(self, level: float) -> float:
        """The model's timestep at flow time `level`, between its whole ones by interpolation.

        Below the first timestep's noise the network is asked at that timestep, which is the
        cleanest it knows; beyond the last there is nothing, for `last` is the end.
        """
        if self.prediction == "flow":
            return level * len(self.levels)
        return float(np.interp(level, self.levels, np.arange(len(self.levels))))

    def network_input(self, state: Tensor, level: float) -> Tensor:
        """What the network sees of a state at flow time `level`: x for diffusion models, z for flow models."""
        z = state / self.scale
        return z if self.prediction == "flow" else z / math.hypot(1.0 - level, level)

    def velocity(self, output: Tensor, state: Tensor, level: float) -> Tensor:
        """d(state)/ds from the network's `output` for `network_input(state, level)`."""
        z = state / self.scale
        if self.prediction == "epsilon":
            flow = (output - z) / (1.0 - level)
        elif self.prediction == "v_prediction":
            # n_hat = sigma x + alpha v and z0_hat = alpha x - sigma v, with both times hypot = 1 / (alpha + sigma).
            size = math.hypot(1.0 - level, level)
            flow = (2.0 * level - 1.0) * z / size**2 + output / size
        else:
            flow = output
        return torch.as_tensor(flow * (self.last * self.scale))


_NOISE = {"beta_start", "beta_end", "beta_schedule", "trained_betas", "num_train_timesteps", "rescale_betas_zero_snr"}
