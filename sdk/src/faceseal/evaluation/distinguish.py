"""Can a machine tell anonymized faces from untouched ones?  Trained on one half of the people, asked about the other.

Each person gives an anonymized square of the first photo and an untouched square of the
second, so the two classes are balanced and share no content.  Both halves are trained on
once, and the answers about the respective other half are counted together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from faceseal.evaluation.verification import Share

Values = NDArray[np.generic]
Judge = Callable[[Values, NDArray[np.bool_], Values], NDArray[np.bool_]]
"""(samples, which of them are anonymized, samples to judge) -> which of those look anonymized."""

EPOCHS = 30
BATCH = 32
REGULARIZATION = 0.01
"""C of the linear SVM, on standardised embeddings of which there are fewer than dimensions."""


def distinguishability(anonymized: Values, untouched: Values, judge: Judge, random: np.random.Generator) -> Share:
    """Right answers about samples (N, ...) and (N, ...) of the same N people in the same order.

    Raises ValueError with fewer than two people.
    """
    if len(anonymized) < 2:
        raise ValueError("two halves need two people or more")
    order = random.permutation(len(anonymized))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    right = 0
    for known, asked in (halves, halves[::-1]):
        samples = np.concatenate([anonymized[known], untouched[known]])
        others = np.concatenate([anonymized[asked], untouched[asked]])
        judged = judge(samples, _labels(len(known)), others)
        right += int((judged == _labels(len(asked))).sum())
    return Share(right, 2 * len(order))


def _labels(people: int) -> NDArray[np.bool_]:
    return np.repeat([True, False], people)


def linear_svm(samples: Values, labels: NDArray[np.bool_], asked: Values) -> NDArray[np.bool_]:
    """A `Judge` of embeddings (N, D): scikit-learn's linear SVM on standardised values."""
    machine = make_pipeline(StandardScaler(), LinearSVC(C=REGULARIZATION))
    machine.fit(samples, labels)
    return np.asarray(machine.predict(asked), dtype=bool)


def convolutional_network(samples: Values, labels: NDArray[np.bool_], asked: Values) -> NDArray[np.bool_]:
    """A `Judge` of squares (N, 128, 128, 3) uint8: a network of 100,000 parameters, trained with random flips.

    Deterministic; torch's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _network()
        pictures, wanted = _tensor(samples), torch.from_numpy(labels.astype(np.float32))
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
        steps = EPOCHS * -(-len(pictures) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(EPOCHS):
            for chosen in _batches(torch.randperm(len(pictures))):
                seen = pictures[chosen]
                flipped = torch.where(torch.rand(len(seen), 1, 1, 1) < 0.5, seen, seen.flip(3))
                loss = nn.functional.binary_cross_entropy_with_logits(network(flipped)[:, 0], wanted[chosen])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        network.eval()
        with torch.inference_mode():
            pictures = _tensor(asked)
            logits = torch.cat([network(part) + network(part.flip(3)) for part in _batches(pictures)])
    return np.asarray(logits[:, 0].numpy() > 0)


def _batches(values: Tensor) -> list[Tensor]:
    return [values[start : start + BATCH] for start in range(0, len(values), BATCH)]


def _tensor(squares: Values) -> Tensor:
    return torch.from_numpy(np.asarray(squares, dtype=np.float32).transpose(0, 3, 1, 2) / 127.5 - 1.0)


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, target in ((3, 16), (16, 32), (32, 64), (64, 128)):
        convolution = nn.Conv2d(source, target, 3, 2, 1, bias=False)
        layers += [convolution, nn.GroupNorm(8, target), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Dropout(0.3), nn.Linear(128, 1))
