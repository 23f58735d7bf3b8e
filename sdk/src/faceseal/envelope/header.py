"""The header of a sealed file: how its faces were exchanged, for whoever holds the key.

Everything in it is public.  It is authenticated by HMAC-SHA256 under a key derived from the
image key, and names the exact pixels by their digest.  Integers are big endian; the layout
is fixed but for the list of faces.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from faceseal.errors import HeaderAltered, SealedFileError, WrongKey
from faceseal.grid import GRID, LANDMARKS
from faceseal.guidance import UNGUIDED, Guidance
from faceseal.imagekey import ImageKey

MAGIC = b"FACESEAL"
VERSION = 3
"""Of the headers that are written; versions 1, without guidance, and 2, without its shift, are read too."""
MAX_FACES = 1000
MAX_STEPS = 64
MAX_ITERATIONS = 32
MAX_COVER = 32
"""All face squares together cover the photo at most this many times."""
MAX_SIDE = 1 << 20
"""Largest width or height that a header may state, in pixels."""
MAX_CELL = 128
KEYED_MAP_NAMES = ("signflip", "rotation")
"""The maps of faceseal.keyed, by their numbers in the header."""
LANDMARK_UNIT = 8
"""Landmarks are stored in 1/8 of a cell: the generator needs no more, and a viewer gets no more."""
MAC_BYTES = 32
NONCE_BYTES = 16
PUBLIC_NONCE_BYTES = 8
"""The part of a nonce that the public noise depends on; the key's noise map depends on all of it."""


_FIXED_1 = struct.Struct(">8sBB16s32s32sBBHBHBII32sH")
_FIXED_2 = struct.Struct(">8sBB16s32s32sBBHBHBBBBII32sH")
_FIXED = struct.Struct(">8sBB16s32s32sBBHBHBBBBBII32sH")
_FIXED_OF = {1: _FIXED_1, 2: _FIXED_2, VERSION: _FIXED}
_FACE = struct.Struct(">iiB14b32s16sB")
_CAPSULE_FLAG = 1
_GRAYSCALE_FLAG = 2

MAX_HEADER_BYTES = _FIXED.size + MAX_FACES * _FACE.size + MAC_BYTES


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """One exchanged face.

    x, y: top left corner of the face square in the photo, in pixels, possibly outside;
    cell: pixels per side of one of its 16 x 16 cells; mask: (16, 16) bool, the cells that
    were replaced; landmarks: (7, 2) in cells from the square's corner, on multiples of 1/8;
    nonce: 16 bytes, public; fidelity: whole dB (PSNR) of the mask's pixels when restored
    from the 8-bit pixels alone, as measured when the photo was sealed, rounded down.
    """

    x: int
    y: int
    cell: int
    mask: NDArray[np.bool_]
    landmarks: NDArray[np.float64]
    nonce: bytes
    fidelity: int

    @property
    def side(self) -> int:
        """Side of the face square in pixels."""
        return GRID * self.cell


@dataclass(frozen=True)
class SolverRecord:
    """The time grid and the inversion's limits, as stored; see faceseal.ode.Solver.

    Raises ValueError unless a header can hold exactly these values: steps 1 to 64, start a
    multiple of 0.0001 between 0 and 1, bend a multiple of 0.1 from 0.5 to 5, tolerance a
    multiple of 0.00001 up to 0.65535, iterations 1 to 32.
    """

    steps: int
    start: float
    bend: float
    tolerance: float
    iterations: int

    def __post_init__(self) -> None:
        _, start, bend, tolerance, _ = stored = self.stored()
        possible = 1 <= self.steps <= MAX_STEPS and 1 <= self.iterations <= MAX_ITERATIONS
        if not (possible and 0 < start < 10_000 and 5 <= bend <= 50 and 0 < tolerance <= 0xFFFF):
            raise ValueError("the solver's settings are impossible")
        if (self.start, self.bend, self.tolerance) != (start / 1e4, bend / 10, tolerance / 1e5):
            raise ValueError(f"the solver's settings must be such as a header can hold: {stored}")

    def stored(self) -> tuple[int, int, int, int, int]:
        """The integers that a header holds."""
        return (
            self.steps,
            round(self.start * 1e4),
            round(self.bend * 10),
            round(self.tolerance * 1e5),
            self.iterations,
        )


@dataclass(frozen=True, eq=False)
class Header:
    """All that a sealed file says about itself."""

    key_id: UUID
    commitment: bytes
    model_digest: bytes
    keyed_map: int
    solver: SolverRecord
    guidance: Guidance
    width: int
    height: int
    pixel_digest: bytes
    grayscale: bool
    capsule: bool
    faces: tuple[FaceRecord, ...] = field(default=())

    @property
    def keyed_map_name(self) -> str:
        """Name of the map in faceseal.keyed."""
        return KEYED_MAP_NAMES[self.keyed_map]

    @property
    def fidelity(self) -> int:
        """dB of the worst face when restored from the pixels alone."""
        return min(face.fidelity for face in self.faces)


def pixel_digest(pixels: NDArray[np.uint8], color_profile: bytes | None = None) -> bytes:
    """SHA-256 over (H, W, 3) pixels and what their values mean.

    Hashed are width, height and the length of the ICC profile (4 bytes each), the profile,
    and the RGB bytes row by row.
    """
    height, width, _ = pixels.shape
    profile = color_profile or b""
    digest = hashlib.sha256(struct.pack(">III", width, height, len(profile)) + profile)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def key_commitment(key: ImageKey) -> bytes:
    """32 bytes that fit one image key only and say nothing about it."""
    return key.derive(b"faceseal/1 commitment", salt=key.key_id.bytes)


def encode_header(header: Header, key: ImageKey) -> bytes:
    """The header's bytes with their authentication code."""
    parts = [
        _FIXED.pack(
            MAGIC,
            VERSION,
            header.capsule * _CAPSULE_FLAG | header.grayscale * _GRAYSCALE_FLAG,
            header.key_id.bytes,
            header.commitment,
            header.model_digest,
            header.keyed_map,
            *header.solver.stored(),
            *header.guidance.stored(),
            header.width,
            header.height,
            header.pixel_digest,
            len(header.faces),
        )
    ]
    for face in header.faces:
        landmarks = np.rint(face.landmarks * LANDMARK_UNIT).astype(int).ravel()
        bits = np.packbits(face.mask.ravel()).tobytes()
        parts.append(_FACE.pack(face.x, face.y, face.cell, *landmarks, bits, face.nonce, face.fidelity))
    body = b"".join(parts)
    return body + _mac(body, key)


def parse_header(content: bytes) -> Header:
    """Read a header strictly; its authentication code is checked by `authenticate_header`.

    Raises SealedFileError if anything is not as docs/envelope.md says.
    """
    if len(content) < _FIXED_1.size + MAC_BYTES or content[:8] != MAGIC:
        raise SealedFileError("the faceseal header is cut short or is not one; get the file again from its source")
    if content[8] not in _FIXED_OF:
        raise SealedFileError(
            f"the file's header has version {content[8]}, this faceseal reads 1 to {VERSION}; update it"
        )
    fixed = _FIXED_OF[content[8]]
    fields = fixed.unpack_from(content)
    _, _, flags, key_id, commitment, model_digest, keyed_map, steps, start, bend, tolerance, iterations = fields[:12]
    *guiding, width, height, pixels, count = fields[12:]
    if len(content) != fixed.size + count * _FACE.size + MAC_BYTES:
        raise _malformed(f"its length does not fit {count} faces")
    if not 1 <= count <= MAX_FACES or flags > 3 or not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise _malformed("the number of faces, the flags or the size of the photo are impossible")
    if keyed_map >= len(KEYED_MAP_NAMES):
        raise _malformed(f"there is no keyed map {keyed_map}")
    try:
        solver = SolverRecord(steps, start / 1e4, bend / 10, tolerance / 1e5, iterations)
        guidance = Guidance(guiding[0] / 10, *(value / 100 for value in guiding[1:])) if guiding else UNGUIDED
    except ValueError as cause:
        raise _malformed(str(cause)) from None
    faces = tuple(_parse_face(content, fixed.size + i * _FACE.size, width, height) for i in range(count))
    check_work(faces, width, height)
    return Header(
        UUID(bytes=key_id),
        commitment,
        model_digest,
        keyed_map,
        solver,
        guidance,
        width,
        height,
        pixels,
        bool(flags & _GRAYSCALE_FLAG),
        bool(flags & _CAPSULE_FLAG),
        faces,
    )


def check_work(faces: Sequence[FaceRecord], width: int, height: int) -> None:
    """Bounds the work that a header can cause.  Raises SealedFileError."""
    if sum(face.side**2 for face in faces) > MAX_COVER * width * height:
        raise SealedFileError(f"the face squares cover the photo more than {MAX_COVER} times; this is not plausible")


def _parse_face(content: bytes, offset: int, width: int, height: int) -> FaceRecord:
    x, y, cell, *landmarks, bits, nonce, fidelity = _FACE.unpack_from(content, offset)
    side = GRID * cell
    if not 1 <= cell <= MAX_CELL or not (-side < x < width and -side < y < height):
        raise _malformed("a face square lies outside of the photo")
    mask = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool).reshape(GRID, GRID)
    if not mask.any():
        raise _malformed("a face has an empty mask")
    points = np.array(landmarks, dtype=np.float64).reshape(LANDMARKS, 2) / LANDMARK_UNIT
    return FaceRecord(x, y, cell, mask, points, nonce, fidelity)


def authenticate_header(content: bytes, header: Header, key: ImageKey) -> None:
    """Check the key against the commitment, then the header against its code.

    Raises WrongKey or HeaderAltered.
    """
    if not hmac.compare_digest(header.commitment, key_commitment(key)):
        raise WrongKey(f"this is not the key that the photo was sealed with (it names key {header.key_id})")
    if not hmac.compare_digest(content[-MAC_BYTES:], _mac(content[:-MAC_BYTES], key)):
        raise HeaderAltered("the file's header was altered after sealing; use an untouched copy")


def quantize_landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Landmarks (7, 2) in cells, moved to what a header can hold."""
    return np.clip(np.rint(points * LANDMARK_UNIT), -128, 127) / LANDMARK_UNIT


def _mac(body: bytes, key: ImageKey) -> bytes:
    return hmac.digest(key.derive(b"faceseal/1 header mac", salt=key.key_id.bytes), body, "sha256")


def _malformed(what: str) -> SealedFileError:
    return SealedFileError(f"the faceseal header is malformed: {what}; get the file again from its source")
