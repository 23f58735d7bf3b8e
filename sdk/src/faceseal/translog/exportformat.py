"""The lines of an exported log, version 2 (docs/audit.md has it byte by byte).

First a header: the signed checkpoint, the roots of the perfect subtrees of the tree that it
signs (the edge), and the number of the first entry that the file holds.  Then the entries, a
leaf a line; and before the entries that it covers, each tile: 256 neighbouring hashes of one
level of the tree, as in https://c2sp.org/tlog-tiles.  Tiles of level 0 hold leaf hashes, those
of level 1 the roots of 256 leaves each, and so on; where the tree ends, a tile holds fewer.

Whoever reads the file from its beginning knows of every line at once whether it is what was
signed: the edge adds up to the signed root, a tile's root is in the tile above it or in the
edge, and an entry's hash is in its tile.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from faceseal.errors import TransparencyError
from faceseal.translog.canonical import canonical_object

WIDTH = 256
"""Hashes in a whole tile."""
MAX_LINE_BYTES = 64 * 1024
"""The longest entries name the 1,000 keys that the labels of a grant fit."""
MAX_SIZE = 1 << 53
"""Entries, at most: a log's numbers are JSON integers."""
TILE_MARK = b'{"hashes":'
"""How a line with a tile begins, and no entry: those have no member of this name."""
_HASH_BYTES = 32


@dataclass(frozen=True)
class Tile:
    """A tile's place: hash number h of it is the root of the leaves [(256 n + h) << 8 l, (256 n + h + 1) << 8 l)."""

    level: int
    number: int

    @property
    def start(self) -> int:
        """The first leaf that it covers."""
        return self.number << 8 * (self.level + 1)

    def count(self, size: int) -> int:
        """How many hashes it holds in a tree of `size` leaves; 0: there is no such tile."""
        return max(0, min(WIDTH, (size >> 8 * self.level) - WIDTH * self.number))

    def end(self, size: int) -> int:
        """The leaf after the last one that it covers."""
        return self.start + (self.count(size) << 8 * self.level)


def tiles_before(index: int, first: int, size: int) -> list[Tile]:
    """The tiles that stand before entry `index`, the highest first: before the file's first entry all that cover it."""
    tiles, level = [], 0
    while size >> 8 * level:
        tile = Tile(level, index >> 8 * (level + 1))
        if index not in (first, tile.start):
            break
        if tile.count(size):
            tiles.append(tile)
        level += 1
    return tiles[::-1]


@dataclass(frozen=True)
class Header:
    """What the first line says; version 1 had the checkpoint alone, and no tiles."""

    checkpoint: str
    version: int
    first: int = 0
    edge: tuple[bytes, ...] = ()

    def line(self) -> bytes:
        """As it stands in the file, without a newline."""
        fields: dict[str, object] = {"checkpoint": self.checkpoint}
        if self.version > 1:
            fields |= {"edge": _encode(self.edge), "first": self.first, "version": self.version}
        return _line(fields)

    @classmethod
    def parse(cls, line: bytes) -> Header:
        """Inverse of `line`, but that version 1 needs not be canonical.  Raises TransparencyError."""
        try:
            # Exports were always written like this; nobody can have another one.
            fields = canonical_object(line)
        except ValueError:
            raise TransparencyError("the first line does not hold a checkpoint") from None
        checkpoint, version, first = fields.get("checkpoint"), fields.get("version", 1), fields.get("first", 0)
        if not isinstance(checkpoint, str):
            raise TransparencyError("the first line does not hold a checkpoint")
        if version not in (1, 2):
            raise TransparencyError("the export is of a version that this program does not know; use a newer one")
        known = {"checkpoint"} if version == 1 else {"checkpoint", "edge", "first", "version"}
        try:
            # True is 1 in Python.
            if fields.keys() != known or type(first) is not int or not 0 <= first <= MAX_SIZE:
                raise ValueError
            edge = _decode(fields["edge"]) if version == 2 else []
        except ValueError:
            raise TransparencyError("the first line does not say what an export's first line must") from None
        return cls(checkpoint, 1 if version == 1 else 2, first, tuple(edge))


def tile_line(tile: Tile, hashes: Sequence[bytes]) -> bytes:
    """A tile as it stands in the file, without a newline."""
    return _line({"hashes": _encode(hashes), "level": tile.level, "tile": tile.number})


def parse_tile(line: bytes, tile: Tile, size: int) -> list[bytes]:
    """The hashes of the tile that must stand here in a tree of `size` leaves.  Raises TransparencyError."""
    hashes: list[bytes] = []
    if line.startswith(TILE_MARK + b'"'):
        try:
            hashes = _decode(line[len(TILE_MARK) + 1 :].partition(b'"')[0].decode("ascii"))
        except ValueError:
            hashes = []
    if len(hashes) != tile.count(size) or tile_line(tile, hashes) != line:
        what = f"the hashes of entries {tile.start} to {tile.end(size) - 1}"
        raise TransparencyError(
            f"{what} are not what stands where they must be: lines were added, altered or taken away"
        )
    return hashes


Stored = Callable[[int, int, int], Sequence[bytes]]
"""(level, position, count): the roots of neighbouring perfect subtrees of 2**level leaves each, the first of which
begins with leaf ``position << level``."""


def export_lines(
    checkpoint: str, size: int, edge: Sequence[bytes], leaves: Iterable[bytes], stored: Stored, first: int = 0
) -> Iterator[bytes]:
    """The file's lines, with newlines: of a signed checkpoint of `size` entries, from entry `first` on.

    edge: the roots of the tree's perfect subtrees, largest first; leaves: from `first` on.  The hashes are those that
    are stored, and not made of the leaves: if the two differ, the reader is to know.
    """
    yield Header(checkpoint, 2, first, tuple(edge)).line() + b"\n"
    for index, leaf in enumerate(leaves, start=first):
        if index == first or index % WIDTH == 0:
            for tile in tiles_before(index, first, size):
                hashes = stored(8 * tile.level, WIDTH * tile.number, tile.count(size))
                yield tile_line(tile, hashes) + b"\n"
        yield leaf + b"\n"


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _encode(hashes: Sequence[bytes]) -> str:
    return base64.b64encode(b"".join(hashes)).decode()


def _decode(text: object) -> list[bytes]:
    """Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("not text")
    joined = base64.b64decode(text, validate=True)
    # There is one way to write them, as of everything in the file.
    if len(joined) % _HASH_BYTES or base64.b64encode(joined).decode() != text:
        raise ValueError("not hashes")
    return [joined[at : at + _HASH_BYTES] for at in range(0, len(joined), _HASH_BYTES)]
