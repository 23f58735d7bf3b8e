"""Checking an exported log with nothing but the log's verifier key, in one pass and bounded memory.

What is wrong is named as exactly as the file allows.  Of version 2 every line is checked
against the signed root as it comes, so that the entry named is the first one that is wrong, with
certainty; if hashes were rewritten along with an entry, the range that they cover.  Version 1 has
nothing but entries: one that was rewritten in its place shows only at the end, by the root.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path

from faceseal.errors import TransparencyError
from faceseal.translog.checkpoints import Checkpoint, open_checkpoint
from faceseal.translog.exportformat import TILE_MARK, WIDTH, Header, Tile, parse_tile, tiles_before
from faceseal.translog.exportlines import Lines
from faceseal.translog.notes import VerifierKey
from faceseal.translog.since import Older
from faceseal.translog.summary import Account, Verified
from faceseal.translog.tree import RightEdge, leaf_hash, subtree_roots

Progress = Callable[[int, int], None]
"""Entries that are checked, and that there are."""
_OFTEN = 1 << 14


def _quiet(_done: int, _of: int) -> None:
    """Tells nobody."""


def verify_export(
    path: Path, key: VerifierKey, since: Checkpoint | None = None, progress: Progress = _quiet
) -> Verified:
    """What the file's entries were proved against: its checkpoint, and `since`, an older one of the same log.

    Raises TransparencyError, which names the first entry that is altered, missing, added, moved or cut off, and
    OSError if the file cannot be read.
    """
    with path.open("rb", buffering=1 << 20) as file:
        lines = Lines(file)
        header = Header.parse(lines.read("the first line"))
        checkpoint = open_checkpoint(header.checkpoint, key)
        if header.first > checkpoint.size:
            raise TransparencyError(f"the export begins at entry {header.first} of {checkpoint.size}")
        older = Older(since, checkpoint, header.first)
        account = Account()
        if header.version == 1:
            _verify_plain(lines, checkpoint, older, account, progress)
        else:
            _verify_tiled(lines, header, checkpoint, older, account, progress)
        if lines.read(f"entry {checkpoint.size}"):
            raise TransparencyError(
                f"entry {checkpoint.size} is not covered by the checkpoint of {checkpoint.size}: lines were added"
            )
    progress(checkpoint.size, checkpoint.size)
    return Verified(checkpoint, header.first, account.events, account.earliest, account.latest, since)


def _verify_plain(lines: Lines, checkpoint: Checkpoint, older: Older, account: Account, progress: Progress) -> None:
    edge, size = RightEdge(), checkpoint.size
    older.tree_was(edge)
    while edge.size < size:
        line = _entry_line(lines, edge.size, size)
        account.take(line, edge.size)
        edge.append(leaf_hash(line))
        older.tree_was(edge)
        if edge.size % _OFTEN == 0:
            progress(edge.size, size)
    if not hmac.compare_digest(edge.root(), checkpoint.root):
        raise TransparencyError(
            f"the entries do not add up to the signed root: at least one was rewritten{older.range_left()}"
        )
    older.require_proved()


def _verify_tiled(
    lines: Lines, header: Header, checkpoint: Checkpoint, older: Older, account: Account, progress: Progress
) -> None:
    first, size = header.first, checkpoint.size
    try:
        edge = RightEdge(size, header.edge)
    except ValueError:
        raise TransparencyError(f"the first line does not have the hashes of a log of {size} entries") from None
    fits = hmac.compare_digest(edge.root(), checkpoint.root)
    try:
        _verify_entries(lines, _Tiles(size, edge.hashes, older), first, size, account, progress)
        if fits:
            older.require_proved()
    except TransparencyError as wrong:
        if fits:
            raise
        raise TransparencyError(f"{wrong}; and the hashes of the first line do not add up to the signed root") from None
    if not fits:
        raise TransparencyError(
            f"entries {first} to {size - 1} fit the file's hashes, but these do not add up to the signed root: "
            f"at least one was rewritten{older.range_left()}"
        )


def _verify_entries(lines: Lines, tiles: _Tiles, first: int, size: int, account: Account, progress: Progress) -> None:
    for index in range(first, size):
        if index == first or index % WIDTH == 0:
            for tile in tiles_before(index, first, size):
                tiles.take(tile, lines.read(f"the line with the hashes of entry {index}"))
            if index % _OFTEN == 0:
                progress(index, size)
        line = _entry_line(lines, index, size)
        if leaf_hash(line) != tiles.leaves[index % WIDTH]:
            raise TransparencyError(_what_is_wrong(line, lines, index, tiles.leaves))
        account.take(line, index)


class _Tiles:
    """The tiles that cover the present entry, each proved by the one above it or by the tree's edge."""

    def __init__(self, size: int, edge: list[bytes], older: Older) -> None:
        self._size = size
        self._edge = edge
        self._older = older
        self._hashes: dict[int, list[bytes]] = {}

    @property
    def leaves(self) -> list[bytes]:
        """The leaf hashes of the present tile."""
        return self._hashes[0]

    def take(self, tile: Tile, line: bytes) -> None:
        """Raises TransparencyError unless the line holds this tile as it was signed."""
        hashes = parse_tile(line, tile, self._size)
        if subtree_roots(hashes) != self._expected(tile):
            last = tile.end(self._size) - 1
            raise TransparencyError(
                f"the hashes of entries {tile.start} to {last} are not those of the signed log: "
                "at least one of these entries was rewritten, or its hash"
            )
        self._hashes[tile.level] = hashes
        self._older.tile_is(tile, hashes)

    def _expected(self, tile: Tile) -> list[bytes]:
        if tile.count(self._size) == WIDTH:
            return [self._hashes[tile.level + 1][tile.number % WIDTH]]
        above = (self._size >> 8 * (tile.level + 1)).bit_count()
        return self._edge[above : above + tile.count(self._size).bit_count()]


def _entry_line(lines: Lines, index: int, size: int) -> bytes:
    line = lines.read(f"entry {index}")
    if not line:
        raise TransparencyError(f"the export ends before entry {index} of {size}")
    return line


def _what_is_wrong(line: bytes, lines: Lines, index: int, leaves: list[bytes]) -> str:
    """Words for a line that is not entry `index`; `leaves`: the proved hashes of its tile."""
    if line.startswith(TILE_MARK):
        return f"entry {index} is missing: where it must be, there are hashes"
    own = leaf_hash(line)
    if own in leaves:
        other = index - index % WIDTH + leaves.index(own)
        return f"where entry {index} must be, the file has entry {other}"
    if leaf_hash(lines.peek()) == leaves[index % WIDTH]:
        return f"before entry {index} there is a line that is no entry of the log"
    try:
        Account().take(line, index)
    except TransparencyError as wrong:
        return str(wrong)
    return f"entry {index} was altered: it is not what the log's key has signed"
