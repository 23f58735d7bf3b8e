import csv
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer.generator import default_model
from faceseal.errors import TrainingDataError
from faceseal.model import load_model
from faceseal.training.collect import read_faces
from faceseal.training.data import MIRRORED, Augmentation, FaceSquares, Source, augment, random_mask, read_prepared
from faceseal.training.loop import Recipe, SquareEncoder, Training, condition_of, flow_loss

LANDMARKS = np.array([[37.0, 37], [87, 37], [62, 65], [42, 88], [84, 88], [63, 85], [63, 91]])


def squares(count: int = 80) -> FaceSquares:
    head = astronaut()[40:168, 160:288]
    random = np.random.default_rng(0)
    shifted = np.stack([np.roll(head, random.integers(-9, 9, 2), axis=(0, 1)) for _ in range(count)])
    return FaceSquares(shifted, np.repeat(LANDMARKS[None], count, axis=0))


def prepared_archive(path, faces: FaceSquares, **changes) -> None:
    rows = io.StringIO()
    points = [f"{p}_{a}" for p in ("reye", "leye", "nose", "rmouth", "lmouth") for a in "xy"]
    writer = csv.DictWriter(rows, ["file", "source", *points])
    writer.writeheader()
    with zipfile.ZipFile(path, "w") as archive:
        for index, (pixels, landmarks) in enumerate(zip(faces.pixels, faces.landmarks[:, :5], strict=True)):
            name = f"faces/{index}.webp"
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
            archive.writestr(name, buffer.getvalue())
            row = {"file": name, "source": "test"} | dict(zip(points, landmarks.ravel(), strict=True))
            writer.writerow(row | changes)
        archive.writestr("landmarks.csv", rows.getvalue())


def same_parameters(one, other, in_bfloat16: bool = False) -> bool:
    wanted = (p.bfloat16().float() if in_bfloat16 else p for p in other.parameters())
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), wanted, strict=True))


def test_training_leaves_a_model_pictures_and_a_checkpoint_to_go_on_from(tmp_path):
    training = Training(squares(), tmp_path, Recipe(steps=3, batch=8, warmup=1))
    training.run()
    first = load_model(tmp_path / "model.safetensors")
    assert same_parameters(first.network, training.average, in_bfloat16=True)
    again = Training(squares(), tmp_path, Recipe(steps=5, batch=8, warmup=1))
    assert again.step == 3
    assert same_parameters(again.network, training.network)
    assert same_parameters(again.average, training.average)
    assert not same_parameters(again.average, training.network)
    assert all(optimizer.state for optimizer in again.optimizers)
    again.run()
    assert again.step == len(again.losses) == 5
    assert load_model(tmp_path / "model.safetensors").digest != first.digest
    for name in ("loss.png", "samples.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 100


def test_training_lowers_the_loss(tmp_path):
    training = Training(squares(), tmp_path, Recipe(steps=30, batch=8, warmup=1))
    training.run()
    assert np.mean(training.losses[-5:]) < 0.95 * np.mean(training.losses[:5])


def test_a_run_begins_with_the_model_that_it_starts_from(tmp_path):
    training = Training(squares(), tmp_path, Recipe(batch=8), start=default_model())
    assert same_parameters(training.network, default_model().network)
    assert same_parameters(training.average, default_model().network)
    assert training.klt is default_model().klt


def test_the_loss_is_that_of_the_velocity_from_the_face_to_the_noise_in_the_mask():
    latent, noise = torch.randn(2, 2, 32, 16, 16, generator=torch.Generator().manual_seed(1))
    mask, inside = torch.zeros(2, 16, 16, dtype=torch.bool), torch.ones(2, 16, 16, dtype=torch.bool)
    mask[:, 4:12, 4:12] = True
    condition = condition_of(latent, torch.full((2, 7, 2), 60.0), mask, inside)
    times, weights = torch.tensor([0.25, 0.75]), torch.linspace(0.5, 1.5, 32)

    def loss(error: float) -> float:
        def network(state, time, stacked):
            at = time[:, None, None, None]
            assert torch.allclose(state, ((1 - at) * latent + at * noise) * mask[:, None])
            assert torch.equal(stacked, condition.stacked())
            velocity = noise - latent
            velocity[:, 3] += error
            return velocity

        return flow_loss(network, latent, condition, times, noise, weights).item()

    assert loss(0.0) == 0.0
    assert loss(2.0) == pytest.approx(2.0**2 * weights[3].item() / 32)


def test_the_background_holds_nothing_of_what_the_mask_hides_or_lies_outside_the_photo():
    latent = torch.randn(2, 32, 16, 16, generator=torch.Generator().manual_seed(1))
    mask, inside = torch.zeros(2, 16, 16, dtype=torch.bool), torch.ones(2, 16, 16, dtype=torch.bool)
    mask[:, 4:12, 4:12], inside[:, :, :2] = True, False
    seen = (inside & ~mask)[:, None]
    background = condition_of(latent, torch.full((2, 7, 2), 60.0), mask, inside).background
    assert torch.equal(background, torch.where(seen, latent, 0.0))


def test_training_encodes_squares_as_sealing_does():
    klt, pixels = default_model().klt, squares(2).pixels
    encoded = SquareEncoder(klt, torch.device("cpu"))(torch.from_numpy(pixels)).numpy()
    assert np.abs(encoded - klt.codec(8).encode(pixels)).max() < 1e-4


def test_the_learning_rate_rises_stays_and_falls():
    recipe = Recipe(steps=100, warmup=10, cooldown=0.25, learning_rate=1.0)
    assert [recipe.rate(step) for step in (0, 9, 50, 75, 99, 100)] == pytest.approx([0.1, 1, 1, 1, 0.04, 0])


def test_a_prepared_archive_is_read_with_its_landmarks(tmp_path):
    prepared_archive(tmp_path / "faces.zip", squares(4))
    faces = read_faces(tmp_path / "faces.zip")
    assert np.array_equal(faces.pixels, squares(4).pixels)
    assert np.array_equal(faces.landmarks[:, :5], squares(4).landmarks[:, :5])
    assert np.linalg.norm(faces.landmarks[:, 5:].mean(axis=1) - [63, 88], axis=1).max() < 30


def test_any_folder_of_photos_is_searched_for_faces(tmp_path):
    Image.fromarray(astronaut()).save(tmp_path / "photo.png")
    (tmp_path / "notes.txt").write_text("not a photo")
    faces = read_faces(tmp_path)
    assert len(faces) == 1
    assert np.abs(faces.landmarks[0] - LANDMARKS).max() < 14


@pytest.mark.parametrize("kind", ["missing", "garbage", "no faces", "missing file", "not a number"])
def test_unusable_training_data_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "faces.zip"
    if kind == "garbage":
        path.write_bytes(b"not a zip")
    elif kind == "no faces":
        path = tmp_path
    elif kind == "missing file":
        prepared_archive(path, squares(2), file="faces/none.webp")
    elif kind == "not a number":
        prepared_archive(path, squares(2), nose_x="left")
    with pytest.raises(TrainingDataError) as caught:
        read_faces(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "there is no"), (b"\xff\xfe", "UTF-8"), (b"", "names no"), (b"file\n", "names no")]
)
def test_prepared_squares_without_a_usable_list_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "landmarks.csv").write_bytes(content)
    with pytest.raises(TrainingDataError, match=words) as caught:
        read_prepared(Source(tmp_path))
    assert "\n" not in str(caught.value)


def test_too_few_faces_are_refused(tmp_path):
    with pytest.raises(TrainingDataError, match="too few"):
        Training(squares(10), tmp_path, Recipe(batch=32))


def test_augmentation_moves_landmarks_with_the_picture():
    pixels = np.zeros((128, 128, 3), dtype=np.uint8)
    for x, y in LANDMARKS.astype(int):
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    how = Augmentation(tone=0.0, soft=0.0, cut=0.0)
    for seed in range(20):
        moved, points = augment(pixels, LANDMARKS, how, np.random.default_rng(seed))
        for x, y in points:
            column, row = int(x), int(y)
            assert moved[row - 1 : row + 2, column - 1 : column + 2].max() > 150


def test_a_mirrored_face_has_its_right_eye_on_the_left_again():
    _, points = augment(squares(1).pixels[0], LANDMARKS, Augmentation(1.0, 0, 0, 0, 0, 0, 0), np.random.default_rng(0))
    assert np.allclose(points, (np.array([128, 0]) + LANDMARKS * [-1, 1])[MIRRORED])
    assert points[0, 0] < points[1, 0]


def test_random_masks_cover_the_landmarks_and_differ():
    masks = [random_mask(LANDMARKS, np.random.default_rng(seed)) for seed in range(50)]
    covered = [mask[int(y) // 8, int(x) // 8] for mask in masks for x, y in LANDMARKS]
    assert np.mean(covered) > 0.98
    assert len({mask.tobytes() for mask in masks}) > 40
