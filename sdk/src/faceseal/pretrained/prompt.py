"""What a text-conditioned network is told: nothing, in the words that it was trained with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TOKENS = 77
"""Length of CLIP's texts."""


def has_text_encoder(folder: Path) -> bool:
    """Whether the empty prompt can be encoded: the checkpoint has an encoder, and transformers is installed."""
    there = (folder / "text_encoder").is_dir() and (folder / "tokenizer").is_dir()
    return there and importlib.util.find_spec("transformers") is not None


def encode_empty_prompt(folder: Path) -> Tensor:
    """The embedding (1, tokens, width) of the empty text, by the checkpoint's own encoder.

    Raises OSError or ValueError if that cannot be read.
    """
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    encoder: Any = CLIPTextModel.from_pretrained(
        str(folder / "text_encoder"), local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    encoder.eval()
    length = min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings))
    tokens = tokenizer([""], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return torch.as_tensor(encoder(tokens.input_ids).last_hidden_state)


def no_prompt(width: int) -> Tensor:
    """Zeros (1, 77, width): a network was not trained on them, but they are the same everywhere."""
    return torch.zeros(1, TOKENS, width)
