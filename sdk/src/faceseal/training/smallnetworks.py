"""Small networks that are distilled from a large one: what they are made of, how they learn, their ONNX files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn
from tqdm import tqdm

BATCH = 256
"""Views per step."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""(answers (B, N), what they should be (B, N)) -> a number."""


def small_network(view: int, channels: Sequence[int], outputs: int) -> nn.Sequential:
    """Views (B, 3, view, view) to answers (B, outputs): convolutions to `channels`, each of which halves the side."""
    layers: list[nn.Module] = []
    for before, after in zip((3, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU()]
    side = view >> len(channels)
    return nn.Sequential(
        *layers, nn.Flatten(1), nn.Linear(channels[-1] * side * side, 32), nn.ReLU(), nn.Linear(32, outputs)
    )


def as_bytes(view: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A view's values in -1..1 as 0..255, to keep many."""
    return np.asarray(np.rint((view + 1) * 127.5), dtype=np.uint8)


def fit(
    network: nn.Sequential,
    views: NDArray[np.uint8],
    wanted: NDArray[np.float64],
    loss: Loss,
    *,
    epochs: int,
    rate: float,
    decay: float,
    noise: float = 0.0,
) -> None:
    """Train on views (V, 3, S, S), from `as_bytes`, whose answers (V, N) are wanted.

    rate: the highest learning rate, on a one-cycle schedule; decay: of the weights, per step and
    rate; noise: standard deviation of what is added to views, whose values are in -1..1.
    """
    seen, answers = torch.from_numpy(views), torch.from_numpy(wanted).float()
    batch = min(BATCH, len(seen))
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * (len(seen) // batch))
    for _ in tqdm(range(epochs), unit="epoch", disable=None):
        for chosen in torch.randperm(len(seen))[: len(seen) // batch * batch].reshape(-1, batch):
            shown = seen[chosen].float() / 127.5 - 1
            error = loss(network(shown + noise * torch.randn_like(shown)), answers[chosen])
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()


def export_network(network: nn.Sequential, name: str, view: int, path: Path) -> None:
    """Write a network of convolutions by two, ReLUs and linear layers as ONNX, weights in half precision.

    Its input is called "view" and is (B, 3, view, view), its output (B, N); it computes in
    single precision.
    """
    nodes, weights, flowing = [], [], "view"
    for index, layer in enumerate(network):
        after = f"layer{index}"
        if isinstance(layer, nn.Conv2d | nn.Linear):
            names = [f"{after}.weight", f"{after}.bias"]
            values = [layer.weight, layer.bias if layer.bias is not None else torch.zeros(layer.weight.shape[0])]
            for value, one in zip(values, names, strict=True):
                weights.append(numpy_helper.from_array(value.detach().numpy().astype(np.float16), f"{one}.half"))
                nodes.append(helper.make_node("Cast", [f"{one}.half"], [one], to=onnx.TensorProto.FLOAT))
            if isinstance(layer, nn.Conv2d):
                nodes.append(helper.make_node("Conv", [flowing, *names], [after], strides=[2, 2], pads=[1, 1, 1, 1]))
            else:
                nodes.append(helper.make_node("Gemm", [flowing, *names], [after], transB=1))
        else:
            nodes.append(helper.make_node("Relu" if isinstance(layer, nn.ReLU) else "Flatten", [flowing], [after]))
        flowing = after
    number = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("view", number, ["batch", 3, view, view])],
        [helper.make_tensor_value_info(flowing, number, ["batch", cast(nn.Linear, network[-1]).out_features])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
