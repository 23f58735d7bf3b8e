"""`restore`: PNG -> header -> key -> capsule, or exchange backwards from the pixels -> photo."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from faceseal.anonymizer.generator import exchange_of
from faceseal.anonymizer.layers import restore_faces
from faceseal.anonymizer.originals import open_originals
from faceseal.anonymizer.sealed import Pixels, Restored, Sealed, SealedContent, read_sealed
from faceseal.anonymizer.sealing import Progress, silent
from faceseal.client import KeyServer
from faceseal.envelope.header import authenticate_header
from faceseal.errors import PixelsAltered, SealedFileError
from faceseal.imagekey import ImageKey, KeySource
from faceseal.photo import read_file
from faceseal.wire import Receipt

if TYPE_CHECKING:
    from faceseal.exchange import Exchange
    from faceseal.model import Model


def restore(
    sealed: str | os.PathLike[str] | bytes | Sealed,
    *,
    keys: KeySource,
    grant: str | None = None,
    model: Model | None = None,
    header: bytes | None = None,
    from_pixels: bool = False,
    refine: int = 0,
    progress: Progress = silent,
) -> Restored:
    """Give back the photo that was sealed.

    grant: the grant (or its id) under which a key server releases the key; header: the
    header's bytes, for a file whose metadata was stripped, whose pixels may then differ, and
    which may have been resized (see `read_sealed`); from_pixels: do without the capsule;
    refine: with a pretrained model whose autoencoder loses something, at most so many
    iterations of the search for the latent that the pixels show, which takes time and brings
    restoring from pixels nearer than `Restored.fidelity`, measured without it, says.
    If a key server released the key, its receipt is in `Restored.receipt`.
    What can be checked without the key is checked before one use of the grant is spent.

    Raises SealedFileError (or NotSealed, HeaderAltered, PixelsAltered, CapsuleAltered),
    WrongKey, ModelError, MissingDependency, PhotoError or KeySourceError.
    """
    content = _as_sealed(sealed, header)
    check_before_release(content, model=model, from_pixels=from_pixels, refine=refine)
    progress("asking for the key")
    key = keys.release(content.header.key_id, grant)
    restored = restore_with_key(content, key, model=model, from_pixels=from_pixels, refine=refine, progress=progress)
    return replace(restored, receipt=receipt_of(keys))


def receipt_of(keys: KeySource) -> Receipt | None:
    """The receipt of a key source's latest release; None if it gives none."""
    return keys.last_receipt if isinstance(keys, KeyServer) else None


def check_before_release(
    content: SealedContent,
    *,
    model: Model | None = None,
    from_pixels: bool = False,
    force: bool = False,
    refine: int = 0,
) -> None:
    """Whether restoring can succeed, as far as that shows without the key; arguments as for `restore_with_key`.

    Raises PixelsAltered, SealedFileError, ModelError or MissingDependency.
    """
    if not force:
        _require_pixels(content)
    if _uses_capsule(content, from_pixels=from_pixels, force=force):
        if content.capsule is None:
            raise SealedFileError("the file's capsule is missing; restore from the pixels with --from-pixels")
    else:
        _exchange(content, model, refine)


def restore_with_key(
    content: SealedContent,
    key: ImageKey,
    *,
    model: Model | None = None,
    from_pixels: bool = False,
    force: bool = False,
    refine: int = 0,
    progress: Progress = silent,
) -> Restored:
    """Restore with an image key at hand (for experts; `restore` fetches the key).

    force: work from the pixels and check nothing; with a wrong key or altered pixels the
    result is a plausible face, not the original.

    Raises what `verify` raises, and ModelError or MissingDependency.
    """
    header = content.header
    if not force:
        authenticate_header(content.header_bytes, header, key)
        _require_pixels(content)
    if _uses_capsule(content, from_pixels=from_pixels, force=force):
        exact = open_originals(content, key)
        return Restored(exact, True, float("inf"), header.grayscale, key.key_id, content.color_profile)
    progress("restoring from the pixels")
    exchange = _exchange(content, model, refine)
    pixels = restore_faces(content.pixels, header.faces, exchange, key, recoded=not content.intact)
    if header.grayscale:
        pixels = grey(pixels)
    fidelity = float("nan") if force or not content.intact else header.fidelity
    return Restored(pixels, False, fidelity, header.grayscale, key.key_id, content.color_profile)


def grey(pixels: Pixels) -> Pixels:
    """The photo (H, W, 3) with three equal channels."""
    return np.repeat(np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8), 3, axis=2)


def verify(content: SealedContent, key: ImageKey) -> None:
    """Check header, pixels, colour profile and capsule against the key.

    Raises WrongKey, HeaderAltered, PixelsAltered, CapsuleAltered or SealedFileError.
    """
    authenticate_header(content.header_bytes, content.header, key)
    if not content.intact:
        raise PixelsAltered("the photo's pixels or their colour profile were altered after sealing")
    if content.header.capsule and not content.detached:
        open_originals(content, key)


def _exchange(content: SealedContent, model: Model | None, refine: int) -> Exchange:
    return exchange_of(content.header, model, refine)


def _uses_capsule(content: SealedContent, *, from_pixels: bool, force: bool) -> bool:
    return content.header.capsule and not (from_pixels or force or content.detached)


def _require_pixels(content: SealedContent) -> None:
    """A header that comes from elsewhere may meet pixels that were coded again."""
    if not (content.intact or content.detached):
        raise PixelsAltered(
            "the photo's pixels or their colour profile were altered after sealing; use an untouched copy, "
            "or --force to see what is left"
        )


def _as_sealed(sealed: str | os.PathLike[str] | bytes | Sealed, header: bytes | None) -> SealedContent:
    if isinstance(sealed, Sealed):
        return read_sealed(sealed.content, header=header)
    if isinstance(sealed, bytes):
        return read_sealed(sealed, header=header)
    return read_sealed(read_file(sealed), os.fspath(sealed), header)
