"""The whole product on one photo: `make demo`, or `make demo PHOTO=path`.

Starts a key server of its own on loopback, seals the photo, is refused, gets a grant,
restores exactly, is refused again after revocation, verifies the audit log offline, and
draws what happened.  Every step checks its result; the first that fails ends the demo with
exit code 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import urandom
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import faceseal
from faceseal.anonymizer import SealedContent, read_sealed, restore_with_key
from faceseal.anonymizer.placing import masked_pixels
from faceseal.anonymizer.sealed import encode_png
from faceseal.client import DpopKey
from faceseal.errors import AccessDenied, FacesealError
from faceseal.imagekey import ImageKey
from faceseal.photo import Photo, read_photo

BIN = Path(sys.executable).parent
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Office:
    """A running key server and the people who use it."""

    url: str
    log_key: str
    data: Path

    def client(self, subject: str, scopes: str) -> faceseal.KeyServer:
        """A client with a token of its own, and a key that ends with the demo."""
        token = keyserver("token", "--data", self.data, "--subject", subject, "--scope", scopes).strip()
        home = self.data / "people" / subject
        return faceseal.KeyServer(
            self.url, token=token, log_key=self.log_key, client_key=DpopKey.generate(), folder=home
        )


class Failed(Exception):
    """A step did not do what it must."""


def main() -> int:
    """Run the demo; 0 if every step held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a photo with faces; without one, a portrait of Eileen Collins")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for what the demo leaves")
    options = parser.parse_args()
    started = time.perf_counter()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        photo = read_photo(options.photo) if options.photo else _portrait()
        with tempfile.TemporaryDirectory(prefix="faceseal-demo-") as data, key_server(Path(data)) as office:
            say("key server", f"{office.url}, SQLite and a root key in {data}")
            sheet = walk_through(photo, office, options.output)
    except (FacesealError, Failed) as problem:
        print(f"demo failed: {problem}", file=sys.stderr)
        return 1
    path = options.output / "contact-sheet.png"
    path.write_bytes(encode_png(sheet))
    say("look at", f"{path}   ({time.perf_counter() - started:.0f} s in all)")
    return 0


def walk_through(photo: Photo, office: Office, output: Path) -> Pixels:
    """All steps; returns the contact sheet."""
    camera = office.client("camera-7", "keys:create")
    reporter = office.client("reporter", "keys:release grants:request")
    editor = office.client("editor", "grants:approve")
    administrator = office.client("administrator", "keys:admin")

    began = time.perf_counter()
    sealed = faceseal.anonymize(photo, keys=camera)
    path = output / "sealed.png"
    sealed.save(path)
    count = len(sealed.header.faces)
    say("anonymized", f"{count} {'face' if count == 1 else 'faces'} in {time.perf_counter() - began:.1f} s -> {path}")

    say("no grant", _refused(lambda: faceseal.restore(path, keys=reporter)))
    grant = reporter.request_grant([sealed.key_id], purpose="correction of a published story", uses=3)
    say("requested", f"grant {grant.id} for 3 uses: {grant.purpose}")
    editor.approve_grant(grant.id)
    say("approved", "by the editor; nobody approves a request of their own")

    restored = faceseal.restore(path, keys=reporter, grant=str(grant.id))
    _require(restored.exact and np.array_equal(restored.pixels, photo.pixels), "the restored photo is not the original")
    restored.save(output / "restored.png")
    say("restored", "bit-exact, from the file's capsule; the audit receipt was verified first")
    pixels = faceseal.restore(path, keys=reporter, grant=str(grant.id), from_pixels=True)
    _require(not pixels.exact and pixels.fidelity > 20, "restoring from the pixels alone failed")
    say("from pixels", f"{pixels.fidelity:.0f} dB in the mask, without the capsule")
    content = read_sealed(path.read_bytes())
    wrong = restore_with_key(content, ImageKey(content.header.key_id, urandom(32)), force=True)
    _require(not np.array_equal(wrong.pixels, pixels.pixels), "a wrong key restored the face")
    say("wrong key", "refused by the key commitment; forced, it shows another face")

    administrator.revoke_key(sealed.key_id)
    say("revoked", _refused(lambda: faceseal.restore(path, keys=reporter, grant=str(grant.id))))
    log = output / "audit-log.jsonl"
    log.unlink(missing_ok=True)
    keyserver("audit", "export", "--data", office.data, "--output", log)
    say("audit", keyserver("audit", "verify", log, "--key", office.log_key).strip().splitlines()[-1])
    panels = {
        "original": photo.pixels,
        "what is replaced": _shade_mask(photo.pixels, content),
        "anonymized": sealed.pixels,
        "restored from the file": restored.pixels,
        f"from 8-bit pixels alone ({pixels.fidelity:.0f} dB)": pixels.pixels,
        "wrong key": wrong.pixels,
    }
    return contact_sheet(panels, content)


@contextmanager
def key_server(data: Path) -> Iterator[Office]:
    """A key server with the embedded default, stopped afterwards."""
    keyserver("init", "--data", data)
    log_key = keyserver("audit", "key", "--data", data).strip()
    command = [str(BIN / "keyserver"), "serve", "--data", str(data), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        ready = (server.stdout.readline() if server.stdout else "").split()
        _require(bool(ready), "the key server did not start")
        yield Office(next(word for word in ready if word.startswith("http")), log_key, data)
    finally:
        server.terminate()
        server.wait(timeout=10)


def keyserver(*arguments: object) -> str:
    """What one keyserver command prints."""
    command = [str(BIN / "keyserver"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _require(done.returncode == 0, f"keyserver {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def contact_sheet(panels: dict[str, Pixels], content: SealedContent, width: int = 400) -> Pixels:
    """Each panel whole, and below it the largest face, enlarged."""
    face = max(content.header.faces, key=lambda f: f.side)
    any_panel = next(iter(panels.values()))
    height = round(width * any_panel.shape[0] / any_panel.shape[1])
    box = (face.x, face.y, face.x + face.side, face.y + face.side)
    caption, gap = 34, 8
    columns, row = 3, caption + height + gap + width + 3 * gap
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * (width + 2 * gap), rows * row), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for index, (name, pixels) in enumerate(panels.items()):
        left, top = (index % columns) * (width + 2 * gap) + gap, (index // columns) * row
        image = Image.fromarray(pixels)
        draw.text((left, top + 4), name, fill="black", font=font)
        sheet.paste(image.resize((width, height), Image.Resampling.LANCZOS), (left, top + caption))
        closeup = image.crop(box).resize((width, width), Image.Resampling.BICUBIC)
        sheet.paste(closeup, (left, top + caption + height + gap))
    return np.asarray(sheet)


def say(step: str, what: str) -> None:
    """One line of the story."""
    print(f"{step:<12} {what}", flush=True)


def _portrait() -> Photo:
    from skimage.data import astronaut

    return Photo(pixels=astronaut(), was_grayscale=False)


def _shade_mask(pixels: Pixels, content: SealedContent) -> Pixels:
    shaded = pixels.astype(np.float64)
    for face in content.header.faces:
        where = masked_pixels(face, pixels)
        shaded[where] = 0.45 * shaded[where] + 0.55 * np.array([230.0, 60.0, 40.0])
    return np.asarray(np.rint(shaded), dtype=np.uint8)


def _refused(attempt: object) -> str:
    try:
        attempt()  # type: ignore[operator]
    except AccessDenied as denial:
        return f"refused: {denial}"
    raise Failed("a key was released that must not be")


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise Failed(otherwise)


if __name__ == "__main__":
    sys.exit(main())
