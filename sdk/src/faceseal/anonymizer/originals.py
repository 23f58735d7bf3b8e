"""The original faces of a photo, into the capsule and out of it."""

from __future__ import annotations

import os

from faceseal.anonymizer.placing import masked_pixels
from faceseal.anonymizer.sealed import Pixels, SealedContent
from faceseal.envelope import capsule as capsules
from faceseal.envelope.header import FaceRecord, Header
from faceseal.errors import SealedFileError
from faceseal.imagekey import ImageKey


def _visible(face: FaceRecord, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the photo that the face square covers."""
    rows = slice(max(face.y, 0), min(face.y + face.side, height))
    return rows, slice(max(face.x, 0), min(face.x + face.side, width))


def seal_originals(original: Pixels, header: Header, header_bytes: bytes, key: ImageKey) -> bytes:
    """The capsule of a photo that is being sealed."""
    pictures = []
    for face in header.faces:
        where = _visible(face, header.width, header.height)
        pictures.append(original[where] * masked_pixels(face, original)[where][..., None])
    return capsules.seal_capsule(pictures, header_bytes, key, os.urandom(capsules.NONCE_BYTES))


def open_originals(content: SealedContent, key: ImageKey) -> Pixels:
    """The photo with the capsule's pixels put back.  Raises CapsuleAltered, or SealedFileError if there is none."""
    if content.capsule is None:
        raise SealedFileError("the file's capsule is missing; restore from the pixels with --from-pixels")
    header, pixels = content.header, content.pixels.copy()
    regions = [_visible(face, header.width, header.height) for face in header.faces]
    sizes = [(columns.stop - columns.start, rows.stop - rows.start) for rows, columns in regions]
    pictures = capsules.open_capsule(content.capsule, content.header_bytes, key, sizes)
    for face, where, picture in zip(header.faces, regions, pictures, strict=True):
        masked = masked_pixels(face, pixels)[where]
        pixels[where][masked] = picture[masked]
    return pixels
