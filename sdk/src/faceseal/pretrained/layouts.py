"""What lies where in the checkpoints that are known: see docs/pretrained-models.md.

The paper is arXiv 2510.01031, its checkpoint PolLabarbarie/diffusion-signflip-anon-face.

| checkpoint | network | first stage | schedule |
|---|---|---|---|
| latent diffusion (CompVis/ldm-celebahq-256) | unet/ | vqvae/ | scheduler/ |
| pixel diffusion (google/ddpm-celebahq-256) | ./ or unet/ | none | ./ or scheduler/ |
| Stable Diffusion inpainting | unet/, text_encoder/, tokenizer/ | vae/ | scheduler/ |
| the paper's | ffhq-diffusers/unet/, a ControlNet | ffhq-diffusers/vqvae/ | none |
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceseal.errors import ModelError

PAPER_FOLDER = "ffhq-diffusers"
PAPER_SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "num_train_timesteps": 1000,
}
"""That of CompVis/ldm-celebahq-256, which the paper's code takes for its own checkpoint."""
CONTROL_FILES = ("controlnet*.safetensors", "ffhq_controlnet/segmentation_masks/*.safetensors")
VARIANTS = (".fp16.", ".bf16.", ".non_ema.")
"""Parts of the names of weights files that are alternatives to the main ones."""
LARGEST_CONFIG = 1 << 20
"""Bytes."""


@dataclass(frozen=True)
class Layout:
    """Folders of one checkpoint; autoencoder and scheduler are None where there is none."""

    unet: Path
    autoencoder: Path | None
    scheduler: Path | None
    control: Path | None
    root: Path
    unscaled: bool

    def files(self, *, text: bool) -> list[Path]:
        """All files that the model is loaded from, with those of the text encoder if `text`."""
        folders = [self.unet, *([self.autoencoder] if self.autoencoder else [])]
        if text:
            folders += [self.root / "text_encoder", self.root / "tokenizer"]
        found = {file for folder in folders for file in folder.iterdir() if _counts(file)}
        found |= {path for path in (self.scheduler, self.control) if path}
        return sorted(found)


def find_layout(folder: Path) -> Layout:
    """The layout of a local checkpoint.  Raises ModelError if it is none of those known."""
    root = folder / PAPER_FOLDER if (folder / PAPER_FOLDER).is_dir() else folder
    unet = root / "unet" if (root / "unet").is_dir() else root
    if not (unet / "config.json").is_file():
        raise ModelError(f"{folder} is no diffusers checkpoint: it has no unet/config.json")
    stages = [root / name for name in ("vqvae", "vae") if (root / name / "config.json").is_file()]
    schedules = [root / "scheduler" / "scheduler_config.json", root / "scheduler_config.json"]
    scheduler = next((path for path in schedules if path.is_file()), None)
    control = _find_control(folder) if root != folder else None
    return Layout(unet, stages[0] if stages else None, scheduler, control, root, root.name == PAPER_FOLDER)


def _find_control(folder: Path) -> Path:
    found = sorted(path for pattern in CONTROL_FILES for path in folder.glob(pattern))
    if len(found) != 1:
        raise ModelError(
            f"{folder} has {len(found)} ControlNets as safetensors and one is needed; convert the published file "
            f"(see docs/pretrained-models.md), or give {folder / PAPER_FOLDER} to do without"
        )
    return found[0]


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config file.  Raises ModelError if it is not a small JSON object."""
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ModelError(f"{path} is too large for a config file")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise ModelError(f"cannot read {path}: {cause}") from cause
    if not isinstance(config, dict):
        raise ModelError(f"{path} does not hold a JSON object")
    return config


def digest_of(layout: Layout, *, text: bool) -> bytes:
    """SHA-256 over the names and digests of the model's files, sorted, and whether its text encoder is used."""
    whole = hashlib.sha256(b"faceseal pretrained 1 " + (b"text" if text else b"no text"))
    base = layout.root.parent if layout.control else layout.root
    for path in layout.files(text=text):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        name = path.relative_to(base).as_posix().encode()
        whole.update(len(name).to_bytes(4, "big") + name + digest)
    return whole.digest()


def _counts(path: Path) -> bool:
    """Whether loading reads the file: configs, vocabularies and weights that are no variant of others."""
    if path.suffix == ".safetensors":
        return not any(part in path.name for part in VARIANTS)
    return path.suffix in {".json", ".txt"} and path.name != "model_index.json"
