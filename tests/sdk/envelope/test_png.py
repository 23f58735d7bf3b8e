import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceseal.envelope.png import SIGNATURE, embed, extract
from faceseal.errors import NotSealed, SealedFileError

HEADER, CAPSULE = b"the header" * 20, b"the capsule" * 50


def plain() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("capsule", [None, CAPSULE])
def test_chunks_come_back_and_the_picture_is_untouched(capsule):
    content = embed(plain(), HEADER, capsule)
    chunks = extract(content)
    assert (chunks.header, chunks.capsule) == (HEADER, capsule)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(Image.open(io.BytesIO(plain()))))


def test_a_photo_without_a_header_is_not_sealed():
    with pytest.raises(NotSealed, match="never sealed, or its metadata was stripped"):
        extract(plain())


def test_a_file_that_is_no_png_is_not_sealed():
    with pytest.raises(NotSealed, match="not a PNG"):
        extract(b"\xff\xd8\xff\xe0 jpeg")


def test_a_length_field_beyond_the_file_is_named():
    content = bytearray(embed(plain(), HEADER, CAPSULE))
    at = content.index(b"fsHD") - 4
    content[at : at + 4] = struct.pack(">I", 0x7FFFFFFF)
    with pytest.raises(SealedFileError, match="length field"):
        extract(bytes(content))


def test_a_damaged_chunk_is_named():
    content = bytearray(embed(plain(), HEADER, CAPSULE))
    content[content.index(b"fsCP") + 10] ^= 1
    with pytest.raises(SealedFileError, match="fsCP of the PNG is damaged"):
        extract(bytes(content))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share):
    content = embed(plain(), HEADER, CAPSULE)
    with pytest.raises(SealedFileError):
        extract(content[: int(len(content) * share)])


def test_a_second_header_is_refused():
    once = embed(plain(), HEADER, None)
    with pytest.raises(SealedFileError, match="twice"):
        extract(embed(once, HEADER, None))


def test_a_header_of_impossible_length_is_refused():
    with pytest.raises(SealedFileError, match="impossible length"):
        extract(embed(plain(), bytes(200_000), None))


@pytest.mark.parametrize("kind", [b"eXIf", b"tRNS", b"acTL"])
def test_chunks_that_change_what_is_shown_are_refused(kind):
    content = embed(plain(), HEADER, None)
    end = content.index(b"IDAT") - 4
    with pytest.raises(SealedFileError, match=kind.decode()):
        extract(content[:end] + chunk(kind, bytes(8)) + content[end:])


def test_a_chunks_name_cannot_reach_the_terminal():
    content = embed(plain(), HEADER, None)
    end = content.index(b"IDAT") - 4
    with pytest.raises(SealedFileError) as caught:
        extract(content[:end] + b"\0\0\0\0\x1b[2Jcrc!" + content[end:])
    assert str(caught.value).isprintable()


def test_a_flood_of_chunks_is_refused():
    flood = chunk(b"fsZZ", b"") * 100_001
    with pytest.raises(SealedFileError, match="chunks"):
        extract(SIGNATURE + flood)


def test_chunks_behind_the_end_are_not_read():
    with pytest.raises(NotSealed):
        extract(plain() + chunk(b"fsHD", HEADER))


@given(st.binary(max_size=300))
def test_garbage_behind_the_signature_is_refused_and_never_crashes(garbage):
    with pytest.raises(SealedFileError):
        extract(SIGNATURE + garbage)
