"""Loading a pretrained model from a folder or from the hub: safetensors only, and no code from there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors
import safetensors
import safetensors.torch
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel

from faceseal.device import device_named
from faceseal.errors import ModelError
from faceseal.grid import GRID
from faceseal.pretrained.autoencoders import Autoencoder, Pixels, Variational, VectorQuantized
from faceseal.pretrained.controlnet import ControlledUNet
from faceseal.pretrained.denoisers import Controlled, Denoiser, Inpainting, Unconditional
from faceseal.pretrained.layouts import (
    CONTROL_FILES,
    PAPER_FOLDER,
    PAPER_SCHEDULE,
    VARIANTS,
    Layout,
    digest_of,
    find_layout,
    read_config,
)
from faceseal.pretrained.model import PretrainedModel
from faceseal.pretrained.prompt import encode_empty_prompt, has_text_encoder, no_prompt
from faceseal.pretrained.schedule import Schedule

_HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)((?:/[\w-][\w.-]*)*)(?:@([\w-][\w./-]*))?", re.ASCII)
_COMPONENTS = ("unet", "vqvae", "vae", "scheduler", "text_encoder", "tokenizer")
_UNREADABLE = (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError)


def is_hub_name(source: str) -> bool:
    """Whether this reads like ``owner/name``, with a folder in it or ``@revision`` behind it."""
    return _HUB_NAME.fullmatch(source) is not None and not source.endswith(".safetensors")


def load_pretrained(source: str | Path, device: str = "cpu") -> PretrainedModel:
    """A model from a local folder, or from the hub by ``owner/name[/folder][@revision]``.

    Its networks run in float32.  Pickled weights and code that comes with a checkpoint are
    never read.  Raises ModelError if the checkpoint is not one of a kind that is known
    (docs/pretrained-models.md), or cannot be read, and if there is no such device.
    """
    where = device_named(device)
    folder = Path(source)
    if not folder.is_dir():
        folder = _download(str(source))
    layout = find_layout(folder)
    unet = read_config(layout.unet / "config.json")
    schedule = Schedule.from_config(read_config(layout.scheduler) if layout.scheduler else PAPER_SCHEDULE)
    side = unet.get("sample_size")
    if not isinstance(side, int) or side <= 0 or side % GRID:
        raise ModelError(f"{source} works on {side} positions a side, and a multiple of {GRID} is needed")
    text = unet.get("_class_name") == "UNet2DConditionModel" and has_text_encoder(layout.root)
    try:
        stage = _autoencoder(layout, side, where)
        denoiser = _denoiser(layout, unet, stage, where, text=text)
        digest = digest_of(layout, text=text)
    except _UNREADABLE as cause:
        reason = " ".join(str(cause).split())[:200]
        raise ModelError(
            f"cannot read {source}, of which only safetensors are read, never pickles: {reason}"
        ) from cause
    prompt = "" if text or not isinstance(denoiser, Inpainting) else " (without text encoder: zero prompt)"
    return PretrainedModel(stage, denoiser, schedule, side, digest, f"{source}{prompt}")


def _download(source: str) -> Path:
    """The local copy of a checkpoint on the hub, of which nothing but configs and safetensors is fetched."""
    matched = _HUB_NAME.fullmatch(source)
    if matched is None:
        raise ModelError(f"{source} is neither a folder nor a name on the hub (owner/name, or owner/name@revision)")
    repository, folder, revision = matched.group(1), matched.group(2).strip("/"), matched.group(3)
    prefix = f"{folder}/" if folder else ""
    roots = [prefix, f"{prefix}{PAPER_FOLDER}/"]
    names = [
        f"{root}{part}/*.{kind}" for root in roots for part in _COMPONENTS for kind in ("json", "txt", "safetensors")
    ]
    names += [f"{prefix}{name}" for name in ("config.json", "scheduler_config.json", *CONTROL_FILES)]
    names += [f"{prefix}diffusion_pytorch_model*.safetensors"]
    try:
        copy = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=names, ignore_patterns=[f"*{part}*" for part in VARIANTS]
        )
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as cause:
        reason = " ".join(str(cause).split())[:200]
        raise ModelError(f"cannot get {source} from the hub: {reason}") from cause
    return Path(copy) / folder


def _from_pretrained(kind: Any, folder: Path, device: torch.device) -> Any:
    network = kind.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False, torch_dtype=torch.float32
    )
    return network.requires_grad_(False).eval().to(device)


def _autoencoder(layout: Layout, side: int, device: torch.device) -> Autoencoder:
    if layout.autoencoder is None:
        return Pixels(side, device)
    config = read_config(layout.autoencoder / "config.json")
    pixels = side << (len(config["block_out_channels"]) - 1)
    if config.get("_class_name") == "VQModel":
        network = _from_pretrained(VQModel, layout.autoencoder, device)
        # A config that states none is of the time before there was one; VQ first stages had 1.
        factor = 1.0 if layout.unscaled else float(config.get("scaling_factor", 1.0))
        return VectorQuantized(network, pixels, factor, device)
    if config.get("_class_name") == "AutoencoderKL":
        network = _from_pretrained(AutoencoderKL, layout.autoencoder, device)
        factor, shift = network.config["scaling_factor"], network.config["shift_factor"]
        return Variational(network, pixels, float(factor), float(shift or 0.0), device)
    raise ModelError(f"the first stage {config.get('_class_name')!r} is not supported; VQModel and AutoencoderKL are")


def _denoiser(
    layout: Layout, config: dict[str, Any], stage: Autoencoder, device: torch.device, *, text: bool
) -> Denoiser:
    kind, seen, given = config.get("_class_name"), config.get("in_channels"), config.get("out_channels")
    if kind == "UNet2DConditionModel" and (seen, given) == (2 * stage.channels + 1, stage.channels):
        inpainting = _from_pretrained(UNet2DConditionModel, layout.unet, device)
        prompt = encode_empty_prompt(layout.root) if text else no_prompt(inpainting.config["cross_attention_dim"])
        return Inpainting(inpainting, prompt.to(device))
    plain = config.get("time_embedding_type", "positional") == "positional" and not config.get("num_class_embeds")
    if kind != "UNet2DModel" or (seen, given) != (stage.channels, stage.channels) or not plain:
        raise ModelError(
            f"a {kind} from {seen} to {given} channels is not supported; unconditional and inpainting networks are"
        )
    unet = _from_pretrained(UNet2DModel, layout.unet, device)
    if layout.control is None:
        return Unconditional(unet)
    if stage.pixels % unet.config["sample_size"]:
        raise ModelError("the ControlNet's hint does not fit the latent")
    controlled = ControlledUNet(unet, stage.pixels // unet.config["sample_size"])
    controlled.load_control(safetensors.torch.load_file(layout.control))
    return Controlled(controlled.requires_grad_(False).eval().to(device))
