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

from faceseal.anonymizer.resized import brought_back
from faceseal.client.receipt import receipt_path, stored_receipt
from faceseal.envelope import png
from faceseal.envelope.header import Header, parse_header, pixel_digest
from faceseal.errors import SealedFileError
from faceseal.photo import MAXIMUM_PIXELS, decode_photo, printable, write_atomically
from faceseal.wire import Receipt

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""


@dataclass(frozen=True, eq=False)
class Sealed:
    """A sealed photo.

    content: the PNG file; header_bytes restores it when metadata is lost; attempts: rounds
    that each face of the header took, of `Profile.draws` nonces each.
    """

    content: bytes
    pixels: Pixels
    header: Header
    header_bytes: bytes
    attempts: tuple[int, ...] = ()

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
    as measured when the photo was sealed, infinite if exact, NaN if the pixels are not those
    that were sealed or nothing was checked; color_profile: ICC, or None; receipt: the key
    server's, which proves that the release is in its audit log, if the key came from one.
    """

    pixels: Pixels
    exact: bool
    fidelity: float
    grayscale: bool
    key_id: UUID
    color_profile: bytes | None = None
    receipt: Receipt | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as PNG, atomically.  Raises PhotoError."""
        write_atomically(Path(path), encode_png(self.pixels, self.color_profile, grayscale=self.grayscale))

    def save_receipt(self, path: str | os.PathLike[str]) -> None:
        """Write the receipt, if there is one, beside the photo with this path, atomically.  Raises PhotoError."""
        if self.receipt is not None:
            write_atomically(receipt_path(Path(path)), stored_receipt(self.receipt))


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
        """Whether pixels and colour profile are the ones that the header names."""
        return pixel_digest(self.pixels, self.color_profile) == self.header.pixel_digest


LARGEST_RESIZE = 4
"""A photo whose header comes from elsewhere is brought back to its size from as little as a
quarter, or as much as four times, of its width and height."""


def read_sealed(content: bytes, name: str = "the file", header: bytes | None = None) -> SealedContent:
    """Take a sealed file apart, strictly; `header` replaces the file's own.

    With `header`, a photo that was resized on its way (same shape, by a factor from 1/4 to
    4) is brought back to the header's size first (see `faceseal.anonymizer.resized`): what
    comes of it is a likeness, and `SealedContent.intact` is False.  A photo with a header of its own must
    have the size that this states.

    Raises NotSealed, SealedFileError or PhotoError.
    """
    chunks = png.extract(content) if header is None else png.SealedChunks(header, None)
    parsed = parse_header(chunks.header)
    if chunks.capsule is not None and not parsed.capsule:
        raise SealedFileError("the file carries a capsule that its header does not name; get it again from its source")
    photo = decode_photo(content, name)
    height, width, _ = photo.pixels.shape
    pixels, detached = photo.pixels, header is not None
    if (width, height) != (parsed.width, parsed.height):
        if not (detached and _resized(width, height, parsed)):
            raise SealedFileError(
                f"{printable(name)} is {width}x{height} px, its header says {parsed.width}x{parsed.height}; "
                "bring it back to that size first"
            )
        pixels = brought_back(pixels, parsed.width, parsed.height)
    return SealedContent(pixels, parsed, chunks.header, chunks.capsule, photo.color_profile, detached)


def _resized(width: int, height: int, header: Header) -> bool:
    """Whether one factor, within bounds, brings the header's width and height to these within a pixel each."""
    same_shape = abs(width * header.height - height * header.width) <= header.width + header.height
    bounded = header.width <= LARGEST_RESIZE * width <= LARGEST_RESIZE**2 * header.width
    return same_shape and bounded and header.width * header.height <= MAXIMUM_PIXELS
