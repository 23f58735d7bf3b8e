"""`anonymize`: photo -> faces -> key -> exchange, closed loop -> header, capsule -> PNG."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer.attempts import Demands
from faceseal.anonymizer.generator import default_model, exchange_with, guidance_of
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.layers import seal_faces
from faceseal.anonymizer.originals import seal_originals
from faceseal.anonymizer.sealed import Pixels, Sealed, encode_png
from faceseal.envelope import png
from faceseal.envelope.header import (
    KEYED_MAP_NAMES,
    MAX_FACES,
    NONCE_BYTES,
    FaceRecord,
    Header,
    check_work,
    encode_header,
    key_commitment,
    pixel_digest,
    quantize_landmarks,
)
from faceseal.errors import NoFaceFound, PhotoError
from faceseal.faces.detector import detect_faces
from faceseal.faces.lips import find_lips
from faceseal.faces.neighbours import aligned_squares, parted_masks
from faceseal.faces.square import FaceSquare, face_mask, place_square
from faceseal.imagekey import KeySource
from faceseal.perceptual import perceptual_hash
from faceseal.photo import MAXIMUM_BYTES, Photo, decode_photo, read_photo
from faceseal.profiles import DEFAULT, Profile

if TYPE_CHECKING:
    from faceseal.model import Model

Progress = Callable[[str], None]
"""Called with a few words before each longer piece of work."""


def silent(_: str) -> None:
    """Progress for whoever does not want any."""


def anonymize(
    photo: str | os.PathLike[str] | bytes | Photo,
    *,
    keys: KeySource,
    profile: Profile = DEFAULT,
    model: Model | None = None,
    capsule: bool = True,
    keyed_map: str = "rotation",
    guard: IdentityGuard | None = None,
    progress: Progress = silent,
) -> Sealed:
    """Replace all faces that the detector finds by others, under a fresh key of `keys`.

    capsule: whether the file carries the original faces, encrypted, for exact restoration;
    keyed_map: "rotation", or "signflip" for the published map, which hides less.
    guard: what keeps a face from coming out too much like its origin.
    The photo is restored from its own 8-bit pixels before this returns; a face that comes
    back too far from what the model carries of it is made again with another nonce.

    Raises PhotoError, NoFaceFound, FidelityTooLow, FaceTooAlike, ModelError, MissingDependency
    or KeySourceError; then no file was made, and a key that was created stays unused.
    """
    if keyed_map not in KEYED_MAP_NAMES:
        raise PhotoError(f"there is no keyed map {keyed_map!r}; choose one of {', '.join(KEYED_MAP_NAMES)}")
    picture = _as_photo(photo)
    height, width, _ = picture.pixels.shape
    progress("looking for faces")
    found = _find_faces(picture.pixels)
    records = [
        FaceRecord(f.square.x, f.square.y, f.square.cell, f.mask, f.landmarks, os.urandom(NONCE_BYTES), 0)
        for f in found
    ]
    check_work(records, width, height)
    number = KEYED_MAP_NAMES.index(keyed_map)
    chosen = model or default_model()
    guidance = guidance_of(chosen, profile.guidance)
    exchange = exchange_with(chosen, profile.solver, number, guidance)
    key = keys.create()
    progress(f"exchanging {len(records)} {'face' if len(records) == 1 else 'faces'}")
    demands = Demands(profile, guard)
    pixels, records, attempts = seal_faces(picture.pixels, records, exchange, key, demands)
    header = Header(
        key_id=key.key_id,
        commitment=key_commitment(key),
        model_digest=exchange.model.digest,
        keyed_map=number,
        solver=profile.solver,
        guidance=guidance,
        width=width,
        height=height,
        pixel_digest=pixel_digest(pixels, picture.color_profile),
        grayscale=picture.was_grayscale,
        capsule=capsule,
        faces=tuple(records),
    )
    header_bytes = encode_header(header, key)
    box = seal_originals(picture.pixels, header, header_bytes, key) if capsule else None
    content = png.embed(encode_png(pixels, picture.color_profile), header_bytes, box)
    if len(content) > MAXIMUM_BYTES:
        raise PhotoError(f"the sealed photo would pass {MAXIMUM_BYTES >> 20} MiB; shrink the photo first")
    keys.bind(key.key_id, header.pixel_digest, perceptual_hash(pixels))
    return Sealed(content, pixels, header, header_bytes, tuple(attempts))


@dataclass(frozen=True, eq=False)
class _Found:
    """A face's square, the cells to replace (16, 16), and its landmarks (7, 2) in cells."""

    square: FaceSquare
    mask: NDArray[np.bool_]
    landmarks: NDArray[np.float64]


def _find_faces(pixels: Pixels) -> list[_Found]:
    """All faces; of one that reaches into the photo with less than a cell, nothing is replaced."""
    height, width, _ = pixels.shape
    landmarks = [face.landmarks for face in detect_faces(pixels)]
    placed = [place_square(points, width, height) for points in landmarks]
    squares = aligned_squares(placed, landmarks, width, height)
    masks = [
        face_mask(points, square) & square.inside(width, height) & ~square.rim(width, height)
        for points, square in zip(landmarks, squares, strict=True)
    ]
    found = []
    for points, square, mask in zip(landmarks, squares, parted_masks(squares, masks, landmarks), strict=True):
        if mask.any():
            in_cells = (np.concatenate([points, find_lips(pixels, points)]) - [square.x, square.y]) / square.cell
            found.append(_Found(square, mask, quantize_landmarks(in_cells)))
    if not found:
        raise NoFaceFound("no face was found in the photo, so there is nothing to anonymize")
    if len(found) > MAX_FACES:
        raise PhotoError(f"the photo shows {len(found)} faces and {MAX_FACES} is the most; cut it into parts")
    return found


def _as_photo(photo: str | os.PathLike[str] | bytes | Photo) -> Photo:
    if isinstance(photo, Photo):
        return photo
    return decode_photo(photo, "the photo") if isinstance(photo, bytes) else read_photo(photo)
