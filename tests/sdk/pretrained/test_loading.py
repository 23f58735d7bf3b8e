import json
import shutil

import huggingface_hub
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel
from huggingface_hub.utils import filter_repo_objects

from faceseal.anonymizer.generator import open_model
from faceseal.errors import ModelError
from faceseal.model import FaceModel
from faceseal.pretrained import is_hub_name, load_pretrained
from faceseal.weights import PACKAGED


@pytest.fixture
def copy(tmp_path, checkpoint):
    """A copy of a checkpoint, to be changed."""

    def make(kind: str):
        return shutil.copytree(checkpoint(kind), tmp_path / kind, dirs_exist_ok=True)

    return make


def change(path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("kind", "channels", "side", "pixels"),
    [("ldm", 3, 16, 64), ("ddpm", 3, 32, 32), ("inpainting", 4, 16, 128), ("paper", 3, 16, 64)],
)
def test_the_latents_shape_is_read_from_the_checkpoint(pretrained, kind, channels, side, pixels):
    model = pretrained(kind)
    assert (model.channels, model.side, model.autoencoder.pixels) == (channels, side, pixels)
    assert model.linear == (kind == "ddpm")


def test_the_digest_names_the_files_and_not_the_folder(pretrained, copy, kind):
    assert load_pretrained(copy(kind)).digest == pretrained(kind).digest


@pytest.mark.parametrize("changed", ["unet/config.json", "scheduler/scheduler_config.json", "vqvae/config.json"])
def test_another_config_is_another_model(pretrained, copy, changed):
    folder = copy("ldm")
    change(folder / changed, comment="another")
    assert load_pretrained(folder).digest != pretrained("ldm").digest


def test_other_weights_are_another_model(pretrained, copy):
    folder = copy("ldm")
    path = folder / "vqvae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert load_pretrained(folder).digest != pretrained("ldm").digest


def test_weights_that_are_not_read_do_not_count(pretrained, copy):
    folder = copy("ldm")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half as precise")
    (folder / "README.md").write_text("about this model")
    assert load_pretrained(folder).digest == pretrained("ldm").digest


def test_all_pretrained_models_have_different_digests(pretrained, checkpoint):
    kinds = ["ldm", "ldm-v", "ldm-v-zero-snr", "ldm-flow", "ddpm", "inpainting", "paper"]
    assert len({pretrained(kind).digest for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("part", ["unet", "vqvae"])
def test_pickled_weights_are_refused(copy, part):
    folder = copy("ldm")
    whole = folder / part / "diffusion_pytorch_model.safetensors"
    torch.save({"x": torch.zeros(1)}, whole.with_suffix(".bin"))
    whole.unlink()
    with pytest.raises(ModelError, match="never pickles"):
        load_pretrained(folder)


def test_a_pickled_controlnet_is_refused_with_what_to_do(copy):
    folder = copy("paper")
    path = folder / "controlnet_epoch_15.safetensors"
    torch.save({"x": torch.zeros(1)}, path.with_suffix(".pth"))
    path.unlink()
    with pytest.raises(ModelError, match="convert"):
        load_pretrained(folder)


def test_the_papers_network_runs_without_its_controlnet_as_well(pretrained, checkpoint):
    alone = load_pretrained(checkpoint("paper") / "ffhq-diffusers")
    assert alone.digest != pretrained("paper").digest
    assert alone.autoencoder.factor == pretrained("paper").autoencoder.factor == 1.0


def test_the_controlnet_sees_the_mask(pretrained):
    denoiser = pretrained("paper").denoiser
    noisy, mask = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 1, 16, 16)
    with torch.inference_mode():
        without = denoiser(noisy, torch.tensor([500.0]), mask, noisy)
        mask[..., 4:12, 4:12] = 1
        other = denoiser(noisy, torch.tensor([500.0]), mask, noisy)
    assert not torch.equal(without, other)


def test_a_controlnet_that_controls_nothing_leaves_the_network_as_it_is(checkpoint):
    """With zero convolutions at zero, and what the published form adds unweighted cancelled by hand."""
    from faceseal.pretrained.controlnet import ControlledUNet

    unet = UNet2DModel.from_pretrained(str(checkpoint("ldm") / "unet"))
    controlled = ControlledUNet(unet, downsampling=4)
    with torch.no_grad():
        for name, parameter in controlled.named_parameters():
            if not name.startswith("trained_unet."):
                parameter.zero_()
        noisy = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        times = torch.tensor([10.0, 800.5])
        assert torch.allclose(controlled(noisy, times, torch.ones(2, 1, 16, 16)), unet(noisy, times).sample, atol=1e-6)


def test_the_empty_prompt_is_encoded_by_the_checkpoints_own_encoder(pretrained):
    model = pretrained("inpainting")
    assert model.denoiser.prompt.shape == (1, 77, 12)
    assert model.denoiser.prompt.any()
    assert "zero prompt" not in model.name


def test_without_a_text_encoder_the_prompt_is_zero_and_the_model_another_that_says_so(pretrained, copy):
    folder = copy("inpainting")
    shutil.rmtree(folder / "text_encoder")
    model = load_pretrained(folder)
    assert not model.denoiser.prompt.any()
    assert "zero prompt" in model.name
    assert model.digest != pretrained("inpainting").digest


@pytest.mark.parametrize(
    ("kind", "file", "values"),
    [
        ("ldm", "unet/config.json", {"sample_size": 20}),
        ("ldm", "unet/config.json", {"num_class_embeds": 10}),
        ("ldm", "unet/config.json", {"out_channels": 6}),
        ("ldm", "unet/config.json", {"_class_name": "UNet3DConditionModel"}),
        ("ldm", "vqvae/config.json", {"_class_name": "AutoencoderTiny"}),
        ("ldm", "scheduler/scheduler_config.json", {"prediction_type": "sample"}),
        ("inpainting", "unet/config.json", {"in_channels": 4}),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused_in_one_line(copy, kind, file, values):
    folder = copy(kind)
    change(folder / file, **values)
    with pytest.raises(ModelError) as caught:
        load_pretrained(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"])
def test_a_broken_config_is_refused(copy, content):
    folder = copy("ldm")
    (folder / "unet" / "config.json").write_bytes(content)
    with pytest.raises(ModelError):
        load_pretrained(folder)


@pytest.mark.parametrize("device", ["abacus", "meta", "hpu"])
def test_a_device_that_is_not_there_or_gives_nothing_back_is_refused(checkpoint, device):
    with pytest.raises(ModelError, match=f"cannot compute on '{device}'"):
        load_pretrained(checkpoint("ldm"), device)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no diffusers checkpoint"):
        load_pretrained(tmp_path)


@pytest.fixture
def hub(monkeypatch, tmp_path, checkpoint):
    """A hub that has the tiny checkpoints, and hands out what is asked for."""
    asked = []

    def snapshot_download(name, *, revision=None, allow_patterns, ignore_patterns):
        asked.append((name, revision))
        source, target = checkpoint(name.removeprefix("somebody/")), tmp_path / "snapshot"
        files = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
        for file in filter_repo_objects(files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, target / file)
        return str(target)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_from_the_hub_comes_all_that_is_needed(hub, pretrained, kind):
    assert load_pretrained(f"somebody/{kind}").digest == pretrained(kind).digest
    assert hub == [(f"somebody/{kind}", None)]


def test_a_revision_is_pinned_and_a_folder_in_a_repository_found(hub, checkpoint):
    model = load_pretrained("somebody/paper/ffhq-diffusers@refs/pr/7")
    assert hub == [("somebody/paper", "refs/pr/7")]
    assert model.digest == load_pretrained(checkpoint("paper") / "ffhq-diffusers").digest


def test_pickles_and_code_are_not_even_fetched(hub, tmp_path, copy, monkeypatch, checkpoint):
    folder = checkpoint("ldm")
    extra = [folder / "unet" / "diffusion_pytorch_model.bin", folder / "pipeline.py", folder / "unet" / "code.py"]
    for path in extra:
        path.write_bytes(b"x")
    load_pretrained("somebody/ldm")
    for path in extra:
        path.unlink()
    fetched = {path.name for path in (tmp_path / "snapshot").rglob("*")}
    assert "diffusion_pytorch_model.safetensors" in fetched
    assert not fetched & {path.name for path in extra}


def test_a_hub_that_does_not_answer_is_an_error_in_one_line(monkeypatch):
    def fail(*_args, **_named):
        raise OSError("no such\nhost")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError) as caught:
        load_pretrained("somebody/model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["google/ddpm-celebahq-256", "a/b@main", "a/b/c@refs/pr/7", "a/b_c.d"])
def test_names_on_the_hub_are_recognised(name):
    assert is_hub_name(name)


@pytest.mark.parametrize(
    "name", ["", "model", "/a/b", "a/../b", "./a/b", "a/b@", "a b/c", "runs/x.safetensors", "a//b"]
)
def test_other_names_are_not_looked_up_on_the_hub(name):
    assert not is_hub_name(name)
    with pytest.raises(ModelError):
        load_pretrained(name or "none")


def test_a_model_is_opened_from_a_weights_file_a_folder_or_the_hub(hub, checkpoint, pretrained):
    assert isinstance(open_model(PACKAGED), FaceModel)
    assert open_model(checkpoint("ldm")).digest == pretrained("ldm").digest
    assert open_model("somebody/ldm").digest == pretrained("ldm").digest
    with pytest.raises(ModelError):
        open_model("nowhere.safetensors")


def test_an_autoencoders_scaling_is_taken_from_its_config(copy):
    folder = copy("inpainting")
    before = load_pretrained(folder).autoencoder
    change(folder / "vae" / "config.json", scaling_factor=0.5, shift_factor=0.25)
    after = load_pretrained(folder).autoencoder
    assert isinstance(before.network, AutoencoderKL)
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        raw = before.encode(picture) / before.factor
        assert torch.allclose(after.encode(picture), (raw - 0.25) * 0.5, atol=1e-5)
        assert torch.allclose(after.decode(after.encode(picture)), before.decode(before.encode(picture)), atol=1e-4)
