"""Diffusion models of the diffusers library behind the `Model` protocol; see docs/pretrained-models.md.

load_pretrained("CompVis/ldm-celebahq-256@refs/pr/7")   LDM: UNet2DModel and VQModel
load_pretrained("google/ddpm-celebahq-256")             DDPM on pixels
load_pretrained("models/my-inpainting")                 Stable Diffusion inpainting
"""

from faceseal.pretrained.loading import is_hub_name, load_pretrained

__all__ = ["is_hub_name", "load_pretrained"]
