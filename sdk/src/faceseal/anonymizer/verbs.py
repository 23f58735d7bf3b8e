"""`anonymize` seals a photo, `restore` opens it.

photo -> faces -> key -> exchange, closed loop -> header, capsule -> PNG
PNG -> header -> key -> capsule, or exchange backwards from the pixels -> photo
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer.layers import restore_faces, seal_faces
from faceseal.anonymizer.originals import open_originals, seal_originals
from faceseal.anonymizer.sealed import Pixels, Restored, Sealed, SealedContent, encode_png, read_sealed
from faceseal.envelope import png
from faceseal.envelope.header import (
    KEYED_MAP_NAMES,
    NONCE_BYTES,
    FaceRecord,
    Header,
    SolverRecord,
    authenticate_header,
    encode_header,
    key_commitment,
    pixel_digest,
    quantize_landmarks,
)
from faceseal.errors import ModelMismatch, NoFaceFound, PhotoError, PixelsAltered
from faceseal.faces.detector import detect_faces
from faceseal.faces.square import FaceSquare, face_mask, place_square
from faceseal.imagekey import ImageKey, KeySource
from faceseal.photo import Photo, decode_photo, read_file, read_photo
from faceseal.profiles import DEFAULT, Profile

if TYPE_CHECKING:
    from faceseal.exchange import Exchange
    from faceseal.model import Model

Progress = Callable[[str], None]
"""Called with a few words before each longer piece of work."""


def _silent(_: str) -> None:
    pass


def anonymize(
    photo: str | os.PathLike[str] | bytes | Photo,
    *,
    keys: KeySource,
    profile: Profile = DEFAULT,
    model: Model | None = None,
    capsule: bool = True,
    keyed_map: str = "rotation",
    progress: Progress = _silent,
) -> Sealed:
    """Replace all faces of a photo by others, under a fresh key of `keys`.

    capsule: whether the file carries the original faces, encrypted, for exact restoration;
    keyed_map: "rotation", or "signflip" for the published map, which hides less.
    The photo is restored from its own 8-bit pixels before this returns; a face that misses
    the profile's fidelity is made again with another nonce.

    Raises PhotoError, NoFaceFound, FidelityTooLow, ModelError, MissingDependency or
    KeySourceError; then no file was made, and a key that was created stays unused.
    """
    picture = _as_photo(photo)
    progress("looking for faces")
    squares, masks, landmarks = _find_faces(picture.pixels)
    number = _keyed_map_number(keyed_map)
    exchange = _exchange(model or _packaged_model(), profile.solver, number)
    key = keys.create()
    records = [
        FaceRecord(square.x, square.y, square.cell, mask, points, os.urandom(NONCE_BYTES), 0.0)
        for square, mask, points in zip(squares, masks, landmarks, strict=True)
    ]
    progress(f"exchanging {len(records)} {'face' if len(records) == 1 else 'faces'}")
    pixels, records = seal_faces(picture.pixels, records, exchange, key, profile)
    header = Header(
        key_id=key.key_id,
        commitment=key_commitment(key),
        model_digest=exchange.model.digest,
        keyed_map=number,
        solver=profile.solver,
        width=pixels.shape[1],
        height=pixels.shape[0],
        pixel_digest=pixel_digest(pixels),
        grayscale=picture.was_grayscale,
        capsule=capsule,
        faces=tuple(records),
    )
    header_bytes = encode_header(header, key)
    box = seal_originals(picture.pixels, header, header_bytes, key) if capsule else None
    content = png.embed(encode_png(pixels, picture.color_profile), header_bytes, box)
    keys.bind(key.key_id, header.pixel_digest)
    return Sealed(content, pixels, header, header_bytes)


def restore(
    sealed: str | os.PathLike[str] | bytes | Sealed,
    *,
    keys: KeySource,
    grant: str | None = None,
    model: Model | None = None,
    header: bytes | None = None,
    from_pixels: bool = False,
    progress: Progress = _silent,
) -> Restored:
    """Give back the photo that was sealed.

    grant: the grant (or its id) under which a key server releases the key; header: the
    header's bytes, for a file whose metadata was stripped, whose pixels may then differ;
    from_pixels: do without the capsule.

    Raises SealedFileError (or NotSealed, HeaderAltered, PixelsAltered, CapsuleAltered),
    WrongKey, ModelError, MissingDependency, PhotoError or KeySourceError.
    """
    content = _as_sealed(sealed, header)
    progress("asking for the key")
    key = keys.release(content.header.key_id, grant)
    return restore_with_key(content, key, model=model, from_pixels=from_pixels, progress=progress)


def verify(content: SealedContent, key: ImageKey) -> None:
    """Check header, pixels and capsule against the key.

    Raises WrongKey, HeaderAltered, PixelsAltered, CapsuleAltered or SealedFileError.
    """
    authenticate_header(content.header_bytes, content.header, key)
    _check_pixels(content)
    if content.header.capsule:
        open_originals(content, key)


def _check_pixels(content: SealedContent) -> None:
    if not (content.intact or content.detached):
        raise PixelsAltered(
            "the photo's pixels were altered after sealing; use an untouched copy, or --force to see what is left"
        )


def restore_with_key(
    content: SealedContent,
    key: ImageKey,
    *,
    model: Model | None = None,
    from_pixels: bool = False,
    force: bool = False,
    progress: Progress = _silent,
) -> Restored:
    """Restore with an image key at hand (for experts; `restore` fetches the key).

    force: work from the pixels and check nothing; with a wrong key or altered pixels the
    result is a plausible face, not the original.

    Raises what `verify` raises, and ModelError or MissingDependency.
    """
    header = content.header
    exactly = header.capsule and not (from_pixels or force or content.detached)
    if not force:
        authenticate_header(content.header_bytes, header, key)
        _check_pixels(content)
    if exactly:
        exact = open_originals(content, key)
        return Restored(exact, True, float("inf"), header.grayscale, key.key_id, content.color_profile)
    progress("restoring from the pixels")
    exchange = _exchange(_matching_model(model, header.model_digest), header.solver, header.keyed_map)
    pixels = restore_faces(content.pixels, header.faces, exchange, key)
    if header.grayscale:
        pixels = np.repeat(np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8), 3, axis=2)
    return Restored(pixels, False, header.fidelity, header.grayscale, key.key_id, content.color_profile)


def _as_photo(photo: str | os.PathLike[str] | bytes | Photo) -> Photo:
    if isinstance(photo, Photo):
        return photo
    return decode_photo(photo, "the photo") if isinstance(photo, bytes) else read_photo(Path(photo))


def _as_sealed(sealed: str | os.PathLike[str] | bytes | Sealed, header: bytes | None) -> SealedContent:
    if isinstance(sealed, Sealed):
        return read_sealed(sealed.content, header=header)
    if isinstance(sealed, bytes):
        return read_sealed(sealed, header=header)
    path = Path(sealed)
    return read_sealed(read_file(path), path.name, header)


def _find_faces(pixels: Pixels) -> tuple[list[FaceSquare], list[NDArray[np.bool_]], list[NDArray[np.float64]]]:
    height, width = pixels.shape[:2]
    squares, masks, landmarks = [], [], []
    for face in detect_faces(pixels):
        square = place_square(face.landmarks, width, height)
        mask = face_mask(face.landmarks, square) & square.inside(width, height)
        if mask.any():
            squares.append(square)
            masks.append(mask)
            landmarks.append(quantize_landmarks((face.landmarks - [square.x, square.y]) / square.cell))
    if not squares:
        raise NoFaceFound("no face was found in the photo, so there is nothing to anonymize")
    return squares, masks, landmarks


def _packaged_model() -> Model:
    from faceseal.weights import packaged_model

    return packaged_model()


def _matching_model(model: Model | None, digest: bytes) -> Model:
    chosen = model or _packaged_model()
    if chosen.digest != digest:
        raise ModelMismatch(
            f"the photo was sealed with model {digest.hex()[:16]}, this is model {chosen.digest.hex()[:16]} "
            f"({chosen.name}); give the right one with --model, or restore with the capsule"
        )
    return chosen


def _keyed_map_number(name: str) -> int:
    if name not in KEYED_MAP_NAMES:
        raise PhotoError(f"there is no keyed map {name!r}; choose one of {', '.join(KEYED_MAP_NAMES)}")
    return KEYED_MAP_NAMES.index(name)


def _exchange(model: Model, solver: SolverRecord, keyed_map: int) -> Exchange:
    from faceseal.exchange import Exchange
    from faceseal.keyed import KEYED_MAPS
    from faceseal.ode import Solver

    return Exchange(model, Solver(**vars(solver)), KEYED_MAPS[keyed_map])
