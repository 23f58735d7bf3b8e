"""Tiny checkpoints in the layouts of the real ones, written by diffusers itself; nothing in them is trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    LDMPipeline,
    PNDMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from faceseal.pretrained import load_pretrained
from faceseal.pretrained.controlnet import ControlledUNet

LDM_NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195, "clip_sample": False}


def calm(network, size: float = 0.1):
    """A network with a small output.

    The field of a trained network is smooth; that of random weights which are taken for
    noise estimates, and divided by the little signal there is near t = 1, is not.
    """
    with torch.no_grad():
        for parameter in network.conv_out.parameters():
            parameter.mul_(size)
    return network


def unet(side: int) -> UNet2DModel:
    return UNet2DModel(
        sample_size=side,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=4,
    )


def vqvae(factor: float = 1.0) -> VQModel:
    return VQModel(
        block_out_channels=(4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        num_vq_embeddings=32,
        sample_size=64,
        scaling_factor=factor,
    )


def ldm(folder: Path, scheduler=None) -> None:
    LDMPipeline(vqvae(0.5), calm(unet(16)), scheduler or DDIMScheduler(**LDM_NOISE)).save_pretrained(folder)


def ddpm(folder: Path) -> None:
    """As google/ddpm-celebahq-256, with everything at the top."""
    DDPMPipeline(calm(unet(32)), DDPMScheduler()).save_pretrained(folder / "parts")
    for path in (*(folder / "parts" / "unet").iterdir(), *(folder / "parts" / "scheduler").iterdir()):
        path.rename(folder / path.name)


def inpainting(folder: Path) -> None:
    network = UNet2DConditionModel(
        sample_size=16,
        in_channels=9,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=4,
        cross_attention_dim=12,
    )
    calm(network).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(4, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=128,
    ).save_pretrained(folder / "vae")
    PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3}
    (folder / "words").mkdir()
    (folder / "words" / "vocab.json").write_text(json.dumps(words))
    (folder / "words" / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "words" / "vocab.json"), str(folder / "words" / "merges.txt"))
    tokenizer.save_pretrained(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=4, hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")


def paper(folder: Path) -> None:
    """As PolLabarbarie/diffusion-signflip-anon-face, with its ControlNet as safetensors."""
    base = calm(unet(16))
    base.save_pretrained(folder / "ffhq-diffusers" / "unet")
    vqvae(0.18215).save_pretrained(folder / "ffhq-diffusers" / "vqvae")
    controlled = ControlledUNet(base, downsampling=4)
    tensors = controlled.state_dict() | {
        f"time_embedding.{name}": value.clone() for name, value in base.time_embedding.state_dict().items()
    }
    safetensors.torch.save_file(tensors, folder / "controlnet_epoch_15.safetensors")


BUILDERS: dict[str, Callable[[Path], None]] = {
    "ldm": ldm,
    "ldm-v": lambda folder: ldm(folder, DDIMScheduler(**LDM_NOISE, prediction_type="v_prediction")),
    "ldm-v-zero-snr": lambda folder: ldm(
        folder, DDIMScheduler(**LDM_NOISE, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    ),
    "ldm-flow": lambda folder: ldm(folder, FlowMatchEulerDiscreteScheduler(shift=3.0)),
    "ddpm": ddpm,
    "inpainting": inpainting,
    "paper": paper,
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A folder with the tiny checkpoint of this kind."""
    made: dict[str, Path] = {}

    def build(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            with torch.random.fork_rng():
                torch.manual_seed(1)
                BUILDERS[kind](made[kind])
        return made[kind]

    return build


@pytest.fixture(scope="session")
def pretrained(checkpoint):
    """The loaded model of this kind."""
    loaded = {}

    def load(kind: str):
        if kind not in loaded:
            loaded[kind] = load_pretrained(checkpoint(kind))
        return loaded[kind]

    return load


@pytest.fixture(params=list(BUILDERS))
def kind(request) -> str:
    return request.param
