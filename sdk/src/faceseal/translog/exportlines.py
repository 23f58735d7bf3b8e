"""Reading an export's lines with a bound on each, and on what is held."""

from __future__ import annotations

from typing import BinaryIO

from faceseal.errors import TransparencyError
from faceseal.translog.exportformat import MAX_LINE_BYTES


class Lines:
    """The lines of a file, one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead: bytes | None = None

    def read(self, name: str) -> bytes:
        """The next line without its newline; empty at the end of the file.

        Raises TransparencyError, in which it is called `name`, for an empty line, and for one
        that is too long or ends without a newline.
        """
        line, self._ahead = (self._readline() if self._ahead is None else self._ahead), None
        if not line:
            return b""
        if not line.endswith(b"\n"):
            raise TransparencyError(f"{name} is cut off or longer than {MAX_LINE_BYTES} bytes")
        if line == b"\n":
            raise TransparencyError(f"{name} is empty")
        return line[:-1]

    def peek(self) -> bytes:
        """What `read` will give, whatever it is; for saying what is wrong with the line before."""
        if self._ahead is None:
            self._ahead = self._readline()
        return self._ahead.removesuffix(b"\n")

    def _readline(self) -> bytes:
        return self._file.readline(MAX_LINE_BYTES + 1)
