"""The capsule: the original pixels of the exchanged faces, losslessly coded and encrypted.

AES-256-GCM under a key derived from the image key; the header, with its code, is the
associated data, so a capsule opens with its own file only.  Inside: for each face, in the
header's order, a 4-byte length and that many bytes of lossless WebP, showing the part of
the face square that lies in the photo, black where the mask is not.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray
from PIL import Image

from faceseal.envelope.webp import webp_size
from faceseal.errors import CapsuleAltered
from faceseal.imagekey import ImageKey

NONCE_BYTES = 12
TAG_BYTES = 16
MAX_CAPSULE_BYTES = 1 << 28

_LENGTH = struct.Struct(">I")
_ALTERED = "the capsule was altered after sealing; restore from the pixels with --from-pixels, or use an untouched copy"


def seal_capsule(pictures: Sequence[NDArray[np.uint8]], header: bytes, key: ImageKey, nonce: bytes) -> bytes:
    """Encrypt one (h, w, 3) picture per face; `nonce` is 12 random bytes, never used before with this key."""
    parts: list[bytes] = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "WEBP", lossless=True, exact=True, quality=80, method=4)
        parts += [_LENGTH.pack(buffer.tell()), buffer.getvalue()]
    return nonce + _cipher(key).encrypt(nonce, b"".join(parts), header)


def open_capsule(
    content: bytes, header: bytes, key: ImageKey, sizes: Sequence[tuple[int, int]]
) -> list[NDArray[np.uint8]]:
    """The pictures (h, w, 3), one for each (w, h) of `sizes`.  Raises CapsuleAltered."""
    if not NONCE_BYTES + TAG_BYTES <= len(content) <= MAX_CAPSULE_BYTES:
        raise CapsuleAltered(_ALTERED)
    try:
        plain = _cipher(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], header)
    except InvalidTag:
        raise CapsuleAltered(_ALTERED) from None
    view, pictures = memoryview(plain), []
    for size in sizes:
        length = int.from_bytes(view[: _LENGTH.size])
        if len(view) < _LENGTH.size + length:
            raise CapsuleAltered(_ALTERED)
        pictures.append(_decode(bytes(view[_LENGTH.size : _LENGTH.size + length]), size))
        view = view[_LENGTH.size + length :]
    if len(view):
        raise CapsuleAltered(_ALTERED)
    return pictures


def _decode(content: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    # The decoder allocates what the picture's own header states, so that is read first.
    if webp_size(content) != size:
        raise CapsuleAltered(_ALTERED)
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Exception as cause:  # decoders raise whatever damaged bytes lead them to
        raise CapsuleAltered(_ALTERED) from cause
    if pixels.shape != (size[1], size[0], 3):
        raise CapsuleAltered(_ALTERED)
    return pixels


def _cipher(key: ImageKey) -> AESGCM:
    return AESGCM(key.derive(b"faceseal/1 capsule", salt=key.key_id.bytes))
