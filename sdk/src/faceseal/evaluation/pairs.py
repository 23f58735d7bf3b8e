"""Photos of known people: two of each, in a zip archive with ``pairs.csv``; and groups of people."""

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
    """Two photos of one person; without a second one, nobody can say who is recognized."""

    identity: str
    first: Photo
    second: Photo | None


def read_pairs(path: Path, limit: int | None = None) -> Iterator[Pair]:
    """The archive's pairs in the order of ``pairs.csv`` (identity, first, second, which may be empty).

    Raises PhotoError if the archive or a photo in it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for row in _rows(archive)[:limit]:
                second = _photo(archive, row["second"]) if row["second"] else None
                yield Pair(row["identity"], _photo(archive, row["first"]), second)
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as cause:
        raise PhotoError(f"{path} is not an archive of pairs with a pairs.csv: {cause}") from cause


def count_pairs(path: Path, limit: int | None = None) -> int:
    """How many pairs `read_pairs` gives.  Raises PhotoError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return len(_rows(archive)[:limit])
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as cause:
        raise PhotoError(f"{path} is not an archive of pairs with a pairs.csv: {cause}") from cause


def _photo(archive: zipfile.ZipFile, name: str) -> Photo:
    return decode_photo(archive.read(name), name)


def _rows(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read("pairs.csv").decode())))


def read_groups(path: Path) -> dict[str, frozenset[str]]:
    """Identities by group, of a CSV file with the columns identity and group; one person may be in several.

    Raises PhotoError if it cannot be read or has other columns.
    """
    found: dict[str, set[str]] = {}
    try:
        for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
            found.setdefault(row["group"], set()).add(row["identity"])
    except (OSError, KeyError, UnicodeDecodeError) as cause:
        raise PhotoError(f"{path} is not a CSV file with the columns identity and group") from cause
    return {group: frozenset(identities) for group, identities in found.items()}
