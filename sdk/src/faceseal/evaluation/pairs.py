"""Photos of known people: two of each, in a zip archive with ``pairs.csv``."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faceseal.errors import PhotoError
from faceseal.photo import Photo, decode_photo


@dataclass(frozen=True, eq=False)
class Pair:
    """Two photos of one person."""

    identity: str
    first: Photo
    second: Photo


def read_pairs(path: Path, limit: int | None = None) -> Iterator[Pair]:
    """The archive's pairs in the order of ``pairs.csv`` (identity, first, second).

    Raises PhotoError if the archive or a photo in it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            rows = list(csv.DictReader(io.StringIO(archive.read("pairs.csv").decode())))
            for row in rows[:limit]:
                photos = [decode_photo(archive.read(row[which]), row[which]) for which in ("first", "second")]
                yield Pair(row["identity"], *photos)
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as cause:
        raise PhotoError(f"{path} is not an archive of pairs with a pairs.csv: {cause}") from cause
