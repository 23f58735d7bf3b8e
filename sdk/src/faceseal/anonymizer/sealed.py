"""A sealed photo and a restored one, in memory and as files."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.envelope import png
from faceseal.envelope.header import Header, parse_header, pixel_digest
from faceseal.errors import SealedFileError
from faceseal.photo import decode_photo, write_atomically

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""


@dataclass(frozen=True, eq=False)
class Sealed:
    """A sealed photo: content is the PNG file; header_bytes restores it when metadata is lost."""

    content: bytes
    pixels: Pixels
    header: Header
    header_bytes: bytes

    @property
    def key_id(self) -> UUID:
        """The key to ask for."""
        return self.header.key_id

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the PNG atomically.  Raises PhotoError."""
        write_atomically(Path(path), self.content)


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored photo.

    pixels: (H, W, 3) uint8; exact: every pixel is the original's; fidelity: dB in the mask
    as measured when the photo was sealed, infinite if exact; color_profile: ICC, or None.
    """

    pixels: Pixels
    exact: bool
    fidelity: float
    grayscale: bool
    key_id: UUID
    color_profile: bytes | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as PNG, atomically.  Raises PhotoError."""
        write_atomically(Path(path), encode_png(self.pixels, self.color_profile, grayscale=self.grayscale))


def encode_png(pixels: Pixels, color_profile: bytes | None = None, *, grayscale: bool = False) -> bytes:
    """Pixels (H, W, 3) as a PNG file, of one channel if they are grey.

    The colour profile is all the metadata that it carries.
    """
    image = Image.fromarray(pixels[..., 0] if grayscale else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=color_profile)
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class SealedContent:
    """A sealed file taken apart; `detached` if its header came from elsewhere."""

    pixels: Pixels
    header: Header
    header_bytes: bytes
    capsule: bytes | None
    color_profile: bytes | None = None
    detached: bool = False

    @property
    def intact(self) -> bool:
        """Whether the pixels are the ones that the header names."""
        return pixel_digest(self.pixels) == self.header.pixel_digest


def read_sealed(content: bytes, name: str = "the file", header: bytes | None = None) -> SealedContent:
    """Take a sealed file apart, strictly; `header` replaces the file's own.

    Raises NotSealed, SealedFileError or PhotoError.
    """
    if header is None:
        chunks = png.extract(content)
        header_bytes, box = chunks.header, chunks.capsule
    else:
        header_bytes, box = header, None
    parsed = parse_header(header_bytes)
    photo = decode_photo(content, name)
    pixels = photo.pixels
    if pixels.shape[:2] != (parsed.height, parsed.width):
        raise SealedFileError(
            f"{name} is {pixels.shape[1]}x{pixels.shape[0]} px, its header says {parsed.width}x{parsed.height}; "
            "bring it back to that size first"
        )
    return SealedContent(pixels, parsed, header_bytes, box, photo.color_profile, detached=header is not None)
