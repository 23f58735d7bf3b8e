"""Every kind of file a user may name, and what comes of it."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceseal import photo
from faceseal.errors import PhotoError
from faceseal.photo import decode_photo, read_photo, write_atomically

WIDTH, HEIGHT = 96, 80


def picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Four differently coloured quarters on a gradient: no two orientations look the same."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 120, width), np.linspace(0, 60, height))
    pixels = np.stack([x + 100 * (y > 30), y + 80 * (x > 60), 120 - x], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + body


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}}


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_rgb_photos_are_read_exactly(form: str) -> None:
    image = picture()
    read = decode_photo(encoded(image, form, **LOSSLESS[form]), "photo")
    assert not read.was_grayscale
    assert read.pixels.dtype == np.uint8
    np.testing.assert_array_equal(read.pixels, np.asarray(image))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_a_grey_photo_is_read_as_three_equal_channels_and_remembered(form: str) -> None:
    image = picture("L")
    read = decode_photo(encoded(image, form), "photo")
    assert read.was_grayscale
    np.testing.assert_array_equal(read.pixels, np.stack([np.asarray(image)] * 3, axis=-1))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_read_closely(mode: str) -> None:
    image = picture(mode)
    read = decode_photo(encoded(image, "JPEG", quality=95, subsampling=0), "photo.jpg")
    assert read.was_grayscale == (mode == "L")
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(read.pixels - expected).mean() < 3


def test_the_pixels_can_be_written_to() -> None:
    read = decode_photo(encoded(picture(), "PNG"), "photo.png")
    read.pixels[0, 0] = 7
    assert read.pixels.flags.c_contiguous


def test_a_jpeg_with_a_second_picture_behind_the_first_is_that_first_picture() -> None:
    first, second = picture(), picture().rotate(180)
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=95, subsampling=0)
    read = decode_photo(content, "phone.jpg")
    assert np.abs(read.pixels - np.asarray(first).astype(int)).mean() < 3


# How a camera that was held so stores the upright picture (Exif 2.32, section 4.6.4).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda upright: upright.transpose(Image.Transpose.ROTATE_180),
    4: lambda upright: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda upright: upright.transpose(Image.Transpose.TRANSPOSE),
    6: lambda upright: upright.transpose(Image.Transpose.ROTATE_90),
    7: lambda upright: upright.transpose(Image.Transpose.TRANSVERSE),
    8: lambda upright: upright.transpose(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_tag_comes_out_upright(orientation: int, form: str, mode: str) -> None:
    upright = picture(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(STORED[orientation](upright), form, exif=exif.tobytes(), **LOSSLESS[form])
    read = decode_photo(content, "photo")
    np.testing.assert_array_equal(read.pixels, np.asarray(upright.convert("RGB")))


def test_the_orientation_of_a_jpeg_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(STORED[6](picture()), "JPEG", exif=exif.tobytes(), quality=95, subsampling=0)
    read = decode_photo(content, "photo.jpg")
    assert np.abs(read.pixels - np.asarray(picture()).astype(int)).mean() < 3


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\x00\x00\xff\xff"])
def test_damaged_exif_does_not_spoil_a_good_photo(exif: bytes) -> None:
    read = decode_photo(encoded(picture(), "PNG", exif=exif), "photo.png")
    np.testing.assert_array_equal(read.pixels, np.asarray(picture()))


def animation(form: str) -> bytes:
    frames = [picture(), picture().rotate(90)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)


def webp_of(width: int, height: int) -> bytes:
    """The header of an extended WebP file that claims a canvas of this size."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


RGB16 = bytes(HEIGHT * (1 + WIDTH * 6))
GREY16 = bytes(HEIGHT * (1 + WIDTH * 2))
GREY4 = bytes(HEIGHT * (1 + WIDTH // 2))
RGB8 = bytes(HEIGHT * (1 + WIDTH * 3))
TIFF16 = Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint16))

REFUSED = {
    "a text": (b"I am not a photo, not at all.", "is not a JPEG, PNG, WebP, TIFF or BMP image"),
    "an HEIC photo": (b"\x00\x00\x00\x18ftypheic" + bytes(64), "is not a JPEG, PNG, WebP, TIFF or BMP image"),
    "nothing": (b"", "is empty"),
    "a signature alone": (b"\x89PNG\r\n\x1a\n", "damaged or truncated"),
    "half a JPEG": (encoded(picture(), "JPEG")[:-400], "damaged or truncated"),
    "half a PNG": (encoded(picture(), "PNG")[:-200], "damaged or truncated"),
    "half a WebP": (encoded(picture(), "WEBP")[:-60], "damaged or truncated"),
    "half a TIFF": (encoded(picture(), "TIFF", compression="tiff_deflate")[:-300], "damaged or truncated"),
    "half a BMP": (encoded(picture(), "BMP")[:-300], "damaged or truncated"),
    "a WebP header": (b"RIFF\x20\x00\x00\x00WEBPVP8 ", "damaged or truncated"),
    "16-bit RGB": (png(WIDTH, HEIGHT, 16, 2, RGB16), "16-bit channels"),
    "16-bit grey": (png(WIDTH, HEIGHT, 16, 0, GREY16), "16-bit channels"),
    "16-bit TIFF": (encoded(TIFF16, "TIFF"), "16-bit channels"),
    "4-bit grey": (png(WIDTH, HEIGHT, 4, 0, GREY4), "4-bit channels"),
    "black and white": (encoded(picture("1"), "PNG"), "1-bit channels"),
    "a CMYK JPEG": (encoded(picture("CMYK"), "JPEG"), "CMYK"),
    "a CMYK TIFF": (encoded(picture("CMYK"), "TIFF"), "CMYK"),
    "a palette PNG": (encoded(picture("P"), "PNG"), "palette"),
    "a palette BMP": (encoded(picture("P"), "BMP"), "palette"),
    "RGBA": (encoded(picture("RGBA"), "PNG"), "transparency"),
    "LA": (encoded(picture("LA"), "PNG"), "transparency"),
    "RGBA in a TIFF": (encoded(picture("RGBA"), "TIFF"), "transparency"),
    "transparent WebP": (encoded(Image.new("RGBA", (80, 80), (9, 9, 9, 99)), "WEBP"), "transparency"),
    "a transparent colour": (png(WIDTH, HEIGHT, 8, 2, RGB8, png_chunk(b"tRNS", bytes(6))), "transparency"),
    "an animated GIF": (animation("GIF"), "GIF"),
    "a still GIF": (encoded(picture("P"), "GIF"), "GIF"),
    "an animated PNG": (animation("PNG"), "animated"),
    "an animated WebP": (animation("WEBP"), "animated"),
    "a TIFF of two pages": (animation("TIFF"), "several pages"),
    "one pixel": (encoded(picture(size=(1, 1)), "PNG"), "1 x 1"),
    "a narrow photo": (encoded(picture(size=(63, 200)), "JPEG"), "63 x 200"),
    "a flat photo": (encoded(picture(size=(200, 63)), "WEBP"), "200 x 63"),
    "a huge PNG": (png(100_000, 100_000, 8, 2, b""), "64 megapixels"),
    "a huge WebP": (webp_of(12_000, 12_000), "64 megapixels"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_files_are_refused_with_one_line_that_says_what_to_do(kind: str) -> None:
    content, what = REFUSED[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with pytest.raises(PhotoError) as caught:
            decode_photo(content, "group.png")
    message = str(caught.value)
    assert what in message
    assert message.startswith("group.png ")
    assert ";" in message
    assert "\n" not in message


def test_the_advice_for_a_palette_image_is_a_command() -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(encoded(picture("P"), "PNG"), "my group.png")
    assert "`magick 'my group.png' -colorspace sRGB -depth 8 PNG24:out.png`" in str(caught.value)


def test_a_name_with_a_line_break_stays_on_one_line() -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(b"", "two\nlines\x1b[31m")
    assert str(caught.value).startswith("two?lines?[31m is empty")


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_limit_of_pixels_is_exact_and_judged_before_decoding(beyond: int) -> None:
    content = png(1 << 13, (1 << 13) + beyond, 8, 0, b"")
    with pytest.raises(PhotoError, match="64 megapixels" if beyond else "damaged or truncated"):
        decode_photo(content, "large.png")


def test_pillows_own_limit_of_pixels_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_photo(encoded(picture(), "PNG"), "photo.png").pixels.shape == (HEIGHT, WIDTH, 3)


def test_cut_or_changed_bytes_give_a_photo_or_a_photo_error() -> None:
    random = np.random.default_rng(0)
    decoded = refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
            content = encoded(picture(), form)
            for _ in range(150):
                damaged = bytearray(content)
                for place in random.integers(0, min(len(content), 600), 3):
                    damaged[place] = random.integers(256)
                try:
                    read = decode_photo(bytes(damaged), "damaged")
                    assert read.pixels.ndim == 3
                    decoded += 1
                except PhotoError:
                    refused += 1
    assert decoded > 50
    assert refused > 50


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(picture(), "PNG"))
    np.testing.assert_array_equal(read_photo(path).pixels, np.asarray(picture()))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="is a folder; name a photo in it"):
        read_photo(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"nobody\.png does not exist; check the name"):
        read_photo(tmp_path / "nobody.png")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PhotoError, match="is not a file"):
        read_photo(tmp_path / "pipe.png")


def test_a_link_that_leads_to_itself_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "loop.png"
    path.symlink_to(path)
    with pytest.raises(PhotoError, match="cannot be read"):
        read_photo(path)


def test_a_file_without_permission_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "private.png"
    path.write_bytes(encoded(picture(), "PNG"))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(PhotoError, match=r"cannot be read \(Permission denied\); check the path and its permissions"):
        read_photo(path)


def test_a_file_of_more_than_256_mebibytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(PhotoError, match="larger than 256 MiB"):
        read_photo(path)


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_the_umask_decides_on_the_permissions(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from faceseal.photo import write_atomically; os.umask(0o027);"
        "write_atomically(pathlib.Path(sys.argv[1]), b'x')"
    )
    path = tmp_path / "out.png"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"the folder .*nowhere does not exist"):
        write_atomically(tmp_path / "nowhere" / "out.png", b"x")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(photo.os if step == "fsync" else Path, step, fail)
    with pytest.raises(PhotoError if isinstance(error, OSError) else KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(PhotoError, match="cannot be written"):
        write_atomically(tmp_path / "taken", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
