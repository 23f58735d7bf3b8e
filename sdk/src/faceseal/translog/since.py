"""Whether an exported log continues an older checkpoint, computed while the file is read."""

from __future__ import annotations

import hmac

from faceseal.errors import TransparencyError
from faceseal.translog.checkpoints import Checkpoint
from faceseal.translog.exportformat import WIDTH, Tile
from faceseal.translog.tree import RightEdge, subtree_roots


class Older:
    """An older checkpoint (None: nobody asked) of the log that `newer` is of, and what of its tree has been seen."""

    def __init__(self, older: Checkpoint | None, newer: Checkpoint, first: int) -> None:
        self._older = older
        self._newer = newer
        self._first = first
        self._parts: dict[int, list[bytes]] = {}
        self._proved = older is None
        if older is None:
            return
        if older.origin != newer.origin:
            raise TransparencyError(f"the older checkpoint is of another log: {older}; the export: {newer}")
        if older.size > newer.size:
            raise TransparencyError(
                f"the export is of fewer entries than the older checkpoint: {newer}; older: {older}"
            )
        if older.size == newer.size:
            self._require(newer.root)
        elif older.size == 0:
            self._require(RightEdge().root())

    def tree_was(self, edge: RightEdge) -> None:
        """The tree of the first `edge.size` entries."""
        if self._older is not None and not self._proved and edge.size == self._older.size:
            self._require(edge.root())

    def tile_is(self, tile: Tile, hashes: list[bytes]) -> None:
        """A tile that was proved to be the newer tree's."""
        if self._older is None or self._proved:
            return
        size = self._older.size
        here = (size >> 8 * tile.level) % WIDTH
        if here == 0 or tile.number != size >> 8 * (tile.level + 1):
            return
        self._parts[tile.level] = subtree_roots(hashes[:here])
        if sum(map(len, self._parts.values())) == size.bit_count():
            edge = [root for level in sorted(self._parts, reverse=True) for root in self._parts[level]]
            self._require(RightEdge(size, edge).root())

    def require_proved(self) -> None:
        """Raises TransparencyError if the file has not what proves it: it begins too late."""
        if not self._proved and self._older is not None:
            raise TransparencyError(
                f"the export begins at entry {self._first} and cannot show that it continues the older checkpoint "
                f"of {self._older.size} entries; take one that begins earlier"
            )

    def range_left(self) -> str:
        """Words for where a rewritten entry must be, if the older checkpoint fits."""
        if self._older is None or not self._proved or not 0 < self._older.size < self._newer.size:
            return ""
        return f", one of entries {self._older.size} to {self._newer.size - 1}: those before fit the older checkpoint"

    def _require(self, root: bytes) -> None:
        assert self._older is not None  # noqa: S101 - the callers looked
        if not hmac.compare_digest(root, self._older.root):
            raise TransparencyError(
                f"the log does not continue the older checkpoint: {self._newer}; older: {self._older}"
            )
        self._proved = True
