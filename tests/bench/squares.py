"""Photos for `faceseal evaluate` out of training squares: those that a groups file names, each without a second photo.

Run as: python squares.py FACES.zip GROUPS.csv PAIRS.zip
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from faceseal.evaluation.pairs import read_groups
from faceseal.photo import decode_photo

MARGIN = 64
"""Pixels that continue the square's edge on each side: detectors know no face that fills a photo."""


def main(faces: Path, groups: Path, pairs: Path) -> None:
    names = sorted(set().union(*read_groups(groups).values()))
    rows = ["identity,first,second"]
    pairs.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(faces) as squares, zipfile.ZipFile(pairs, "w") as archive:
        for index, name in enumerate(names):
            pixels = decode_photo(squares.read(name), name).pixels
            buffer, photo = io.BytesIO(), f"{index:03}.png"
            padded = np.pad(pixels, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
            Image.fromarray(padded).save(buffer, "PNG")
            archive.writestr(photo, buffer.getvalue())
            rows.append(f"{name},{photo},")
        archive.writestr("pairs.csv", "\n".join(rows) + "\n")
    print(f"{len(names)} photos in {pairs}")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except (OSError, KeyError, zipfile.BadZipFile) as cause:
        sys.exit(f"{sys.argv[1]} is not the archive whose faces {sys.argv[2]} names: {cause}")
