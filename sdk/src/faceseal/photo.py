"""Reading photos strictly, and writing files so that they appear whole or not at all.

One kind of photo is worked on: 8 bits per channel, grey or RGB, one picture, opaque.
Whatever else a file may hold is refused with a line that says what it is and how to turn
it into such a photo; nothing is converted silently, because what is sealed must be what
comes back.

Decoders are called by the file's signature, not through `PIL.Image.open`: its limit on
pixels belongs to the process, warns where this module must decide, and comes first.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from faceseal.durable import sync_folder
from faceseal.envelope.webp import webp_size
from faceseal.errors import PhotoError

SHORTEST_SIDE = 64
"""Pixels."""
MAXIMUM_PIXELS = 1 << 26
"""64 megapixels, counted in binary: cameras of "64 megapixels" have a little more than 64 million."""
MAXIMUM_BYTES = 1 << 28
"""256 MiB, of a file."""

MAXIMUM_PROFILE_BYTES = 1 << 20
"""1 MiB, of an ICC profile."""

_ORIENTATION = 0x0112
"""Exif 2.32, section 4.6.4; the same tag in TIFF."""
_BITS_PER_SAMPLE = 258
"""TIFF 6.0, section 8."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo.

    pixels: (H, W, 3), RGB; a greyscale photo has three equal channels; color_profile: the
    ICC profile that says what the RGB values mean, None for sRGB.
    """

    pixels: NDArray[np.uint8]
    was_grayscale: bool = False
    color_profile: bytes | None = None

    def __post_init__(self) -> None:
        """Raises PhotoError unless the pixels are such a photo's."""
        pixels = self.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise PhotoError("a photo's pixels are an array of 8-bit values, (height, width, 3)")
        _check_size((pixels.shape[1], pixels.shape[0]), "the photo")
        if self.was_grayscale and (pixels != pixels[..., :1]).any():
            raise PhotoError("a greyscale photo has three equal channels")


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read a JPEG, PNG, WebP, TIFF or BMP file.

    Raises PhotoError if `read_file` or `decode_photo` does.
    """
    return decode_photo(read_file(path), str(path))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A file's content, if it can be that of a photo.

    Raises PhotoError if the file is missing, a folder, unreadable or larger than 256 MiB.
    """
    path = Path(path)
    name = printable(str(path))
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise PhotoError(f"{name} is a folder; name a photo in it")
        if not stat.S_ISREG(kind.st_mode):
            raise PhotoError(f"{name} is not a file; name a photo")
        if kind.st_size > MAXIMUM_BYTES:
            raise PhotoError(_too_many_bytes(name))
        with path.open("rb") as file:
            return file.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError as cause:
        raise PhotoError(f"{name} does not exist; check the name") from cause
    except OSError as cause:
        raise PhotoError(f"{name} cannot be read ({_reason(cause)}); check the path and its permissions") from cause


def decode_photo(content: bytes, name: str) -> Photo:
    """Decode a file's content; `name` is what errors call it.  The EXIF orientation is applied.

    Raises PhotoError, with one line that says what the file is and what to do, for
    everything but an opaque 8-bit RGB or grey picture of at least 64 x 64 pixels and at most
    64 megapixels; the size is judged before anything is decoded.
    """
    name = printable(name)
    if len(content) > MAXIMUM_BYTES:
        raise PhotoError(_too_many_bytes(name))
    try:
        image = _open(content, name)
        _check_size(image.size, name)
        _check_kind(image, content, name)
        image.load()
        pixels = _upright(np.asarray(image), _orientation(image))
    except (PhotoError, MemoryError):
        raise
    except Image.DecompressionBombError as cause:
        raise PhotoError(_too_many_pixels(name)) from cause
    except Exception as cause:  # decoders raise whatever a damaged file leads them to
        reason = printable(str(cause)) or type(cause).__name__
        raise PhotoError(f"{name} is damaged or truncated ({reason}); get a complete copy of it") from cause
    was_grayscale = pixels.ndim == 2
    if was_grayscale:
        pixels = np.stack([pixels] * 3, axis=-1)
    profile = None if was_grayscale else _color_profile(image)
    return Photo(np.array(pixels, dtype=np.uint8, order="C"), was_grayscale, profile)


def _open(content: bytes, name: str) -> ImageFile.ImageFile:
    """The header, by the decoder that the signature names."""
    file = io.BytesIO(content)
    if content.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile(file)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile(file)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        size = webp_size(content)  # its decoder allocates as soon as it is made
        if size is None:
            raise ValueError("the file ends in its header, or is an unknown kind of WebP")
        _check_size(size, name)
        return WebPImagePlugin.WebPImageFile(file)
    if content.startswith((b"II*\x00", b"MM\x00*")):
        return TiffImagePlugin.TiffImageFile(file)
    if content.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile(file)
    if content.startswith((b"GIF87a", b"GIF89a")):
        raise PhotoError(f"{name} is a GIF, possibly animated; {_convert(name, frame=True)}")
    if not content:
        raise PhotoError(f"{name} is empty; get a complete copy of it")
    raise PhotoError(f"{name} is not a JPEG, PNG, WebP, TIFF or BMP image; if it is another kind, {_convert(name)}")


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAXIMUM_PIXELS:
        raise PhotoError(_too_many_pixels(name))
    if min(width, height) < SHORTEST_SIDE:
        raise PhotoError(
            f"{name} is {width} x {height} pixels and at least {SHORTEST_SIDE} x {SHORTEST_SIDE} are needed; "
            "use a larger version of it"
        )


def _check_kind(image: ImageFile.ImageFile, content: bytes, name: str) -> None:
    if getattr(image, "n_frames", 1) > 1:
        raise PhotoError(f"{name} is animated or has several pages; take one first, e.g. {_magick(name, frame=True)}")
    bits = _bits(image, content)
    if bits != {8}:
        raise PhotoError(f"{name} has {max(bits)}-bit channels; {_convert(name)}")
    if image.mode in {"P", "PA"}:
        raise PhotoError(f"{name} is a palette image; {_convert(name)}")
    if image.mode in {"RGBA", "LA", "RGBa", "La"} or "transparency" in image.info:
        flatten = _magick(name, "-background white -alpha remove -alpha off")
        raise PhotoError(f"{name} has transparency; flatten it first, e.g. {flatten}")
    if image.mode not in {"L", "RGB"}:
        raise PhotoError(f"{name} is a {image.mode} image; {_convert(name)}")


def _bits(image: ImageFile.ImageFile, content: bytes) -> set[int]:
    """Bits per channel: those of a palette's indices are not meant."""
    if image.mode == "1":
        return {1}
    if isinstance(image, PngImagePlugin.PngImageFile) and image.mode != "P":
        return {content[24]}  # IHDR (PNG, third edition, section 11.2.1)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode != "P":
        return set(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    return {8}


def _color_profile(image: ImageFile.ImageFile) -> bytes | None:
    """One that is absurdly large is dropped, for it is carried into every copy."""
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and 0 < len(profile) <= MAXIMUM_PROFILE_BYTES else None


def _orientation(image: ImageFile.ImageFile) -> int:
    """Of the loaded picture: TIFF turns itself upright while it loads, and drops the tag."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata around good pixels: shown as it stands, as every viewer does
        return 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels (H, W) or (H, W, 3) as they are to be seen; an orientation that Exif does not name changes nothing."""
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.swapaxes(0, 1)
        case 6:
            return np.rot90(pixels, -1)
        case 7:
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(pixels, 1)
    return pixels


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there with all of its content, on disk, or not at all.

    An older file of this name is replaced.  The permissions are those that the umask leaves.

    Raises PhotoError if the folder does not exist or the file cannot be written; nothing is
    left behind then.
    """
    path = Path(path)
    name = printable(str(path))
    if not path.parent.is_dir():
        raise PhotoError(f"{name} cannot be written: the folder {printable(str(path.parent))} does not exist")
    unfinished = path.parent / f".{secrets.token_hex(8)}.unfinished"
    try:
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as cause:
        raise PhotoError(f"{name} cannot be written ({_reason(cause)}); check the folder and the free space") from cause


def _reason(cause: OSError) -> str:
    return cause.strerror or "input/output error"


def printable(name: str) -> str:
    """A name on one line, without control characters."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _magick(name: str, how: str = "-colorspace sRGB -depth 8", frame: bool = False) -> str:
    return f"`magick {shlex.quote(name + '[0]' if frame else name)} {how} PNG24:out.png`"


def _convert(name: str, frame: bool = False) -> str:
    return f"convert it to 8-bit RGB first, e.g. {_magick(name, frame=frame)}"


def _too_many_bytes(name: str) -> str:
    return f"{name} is larger than {MAXIMUM_BYTES >> 20} MiB; use a smaller version of it"


def _too_many_pixels(name: str) -> str:
    return (
        f"{name} has more than {MAXIMUM_PIXELS >> 20} megapixels; shrink it first, e.g. {_magick(name, '-resize 50%')}"
    )
