"""Small networks as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn


def export_network(network: nn.Sequential, name: str, view: int, path: Path) -> None:
    """Write a network of convolutions by two, ReLUs and linear layers as ONNX.

    Its input is called "view" and is (B, 3, view, view), its output (B, N).
    """
    nodes, weights, flowing = [], [], "view"
    for index, layer in enumerate(network):
        after = f"layer{index}"
        if isinstance(layer, nn.Conv2d | nn.Linear):
            names = [f"{after}.weight", f"{after}.bias"]
            values = [layer.weight, layer.bias if layer.bias is not None else torch.zeros(layer.weight.shape[0])]
            weights += [numpy_helper.from_array(v.detach().numpy(), n) for v, n in zip(values, names, strict=True)]
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
