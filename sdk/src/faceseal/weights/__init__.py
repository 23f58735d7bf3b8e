"""The weights that come with the package; see MODEL_CARD.md beside them."""

from __future__ import annotations

from pathlib import Path

PACKAGED = Path(__file__).with_name("faceseal-4.safetensors")
LIPS = Path(__file__).with_name("lips-1.onnx")
POSE = Path(__file__).with_name("pose-1.onnx")
LOOKS = Path(__file__).with_name("looks-1.onnx")
