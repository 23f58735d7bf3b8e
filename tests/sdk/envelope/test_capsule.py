import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from held_keys import VECTOR_KEY

from faceseal.envelope.capsule import open_capsule, seal_capsule
from faceseal.errors import CapsuleAltered
from faceseal.imagekey import ImageKey

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "envelope.json").read_text())
HEADER = b"header bytes"
NONCE = bytes(12)


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((48, 32), (20, 64))]


SIZES = [(32, 48), (64, 20)]


def sealed() -> bytes:
    return seal_capsule(pictures(), HEADER, VECTOR_KEY, NONCE)


def test_pictures_come_back_bit_exact():
    for one, other in zip(open_capsule(sealed(), HEADER, VECTOR_KEY, SIZES), pictures(), strict=True):
        assert np.array_equal(one, other)


def test_the_published_capsule_opens():
    (picture,) = open_capsule(bytes.fromhex(VECTORS["capsule"]), bytes.fromhex(VECTORS["header"]), VECTOR_KEY, [(4, 3)])
    assert picture.ravel().tolist() == list(range(36))


@pytest.mark.parametrize("position", [0, 11, 12, 400, -17, -1])
def test_an_altered_byte_is_noticed(position):
    content = bytearray(sealed())
    content[position] ^= 1
    with pytest.raises(CapsuleAltered):
        open_capsule(bytes(content), HEADER, VECTOR_KEY, SIZES)


def test_a_capsule_opens_with_its_own_header_and_key_only():
    other = ImageKey(VECTOR_KEY.key_id, bytes(32))
    for header, key in ((b"other header", VECTOR_KEY), (HEADER, other)):
        with pytest.raises(CapsuleAltered):
            open_capsule(sealed(), header, key, SIZES)


def forged(plain: bytes) -> bytes:
    """A capsule with any content, by somebody who holds the key."""
    cipher = AESGCM(VECTOR_KEY.derive(b"faceseal/1 capsule", salt=VECTOR_KEY.key_id.bytes))
    return NONCE + cipher.encrypt(NONCE, plain, HEADER)


def hollow(size: tuple[int, int]) -> bytes:
    """A lossless WebP that states a size and holds next to nothing, 34 bytes."""
    body = b"VP8L" + struct.pack("<IBI", 14, 0x2F, (size[0] - 1) | (size[1] - 1) << 14) + bytes(9)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        struct.pack(">I", 0xFFFFFFFF) + b"short",
        struct.pack(">I", 300_000_000),
        struct.pack(">I", 34) + hollow((16000, 12000)),
        struct.pack(">I", 34) + hollow((32, 48))[:33],
    ],
    ids=["empty", "endless", "long", "bomb", "cut short"],
)
def test_a_hostile_capsule_is_refused_before_it_costs_anything(plain):
    tracemalloc.start()
    try:
        with pytest.raises(CapsuleAltered):
            open_capsule(forged(plain), HEADER, VECTOR_KEY, SIZES[:1])
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", bytes(27), bytes(28)])
def test_a_capsule_that_is_too_short_is_refused(content):
    with pytest.raises(CapsuleAltered):
        open_capsule(content, HEADER, VECTOR_KEY, SIZES)


@pytest.mark.parametrize("sizes", [[], SIZES[:1], [*SIZES, (1, 1)], [(48, 32), (64, 20)]])
def test_pictures_must_be_those_that_the_header_names(sizes):
    with pytest.raises(CapsuleAltered):
        open_capsule(sealed(), HEADER, VECTOR_KEY, sizes)
