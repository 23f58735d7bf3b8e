"""The demo as a newcomer runs it."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from skimage.data import astronaut

ROOT = Path(__file__).parents[1]


def demo(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "docs" / "demo.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_demo_tells_the_whole_story_on_a_photo_with_two_faces(tmp_path):
    admiral = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    pair = np.concatenate([astronaut()[:320], np.asarray(admiral.resize((512, 600)))[:320]], axis=1)
    Image.fromarray(pair).save(tmp_path / "two.png")
    done = demo("--photo", tmp_path / "two.png", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 14
    for words in ("2 faces", "refused", "approved", "bit-exact", "wrong key", "entries are proved"):
        assert any(words in line for line in lines), words
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "restored.png")), pair)
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 800


def test_the_demo_fails_clearly_on_a_photo_without_faces(tmp_path):
    Image.new("RGB", (200, 200), "teal").save(tmp_path / "teal.png")
    done = demo("--photo", tmp_path / "teal.png", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.strip() == "demo failed: no face was found in the photo, so there is nothing to anonymize"
    assert not (tmp_path / "out" / "contact-sheet.png").exists()
