import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held_keys import VECTOR_KEY
from hypothesis import given
from hypothesis import strategies as st

from faceseal.envelope.header import (
    KEYED_MAP_NAMES,
    MAX_HEADER_BYTES,
    FaceRecord,
    Header,
    SolverRecord,
    authenticate_header,
    encode_header,
    key_commitment,
    parse_header,
    pixel_digest,
    quantize_landmarks,
)
from faceseal.errors import HeaderAltered, SealedFileError, WrongKey
from faceseal.grid import GRID
from faceseal.guidance import UNGUIDED, Guidance
from faceseal.imagekey import ImageKey
from faceseal.keyed import KEYED_MAPS
from faceseal.profiles import PROFILES

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "envelope.json").read_text())


def face(**changes) -> FaceRecord:
    mask = np.zeros((16, 16), dtype=bool)
    mask[3:14, 4:12] = True
    landmarks = np.array([[4.5, 4.625], [10.75, 4.5], [-0.5, 8], [5.25, 11], [10.5, 15.875], [8, 12.125], [8, 12.5]])
    return replace(FaceRecord(-16, 40, 8, mask, landmarks, bytes(range(16)), 39), **changes)


def header(**changes) -> Header:
    made = Header(
        key_id=VECTOR_KEY.key_id,
        commitment=key_commitment(VECTOR_KEY),
        model_digest=b"\x11" * 32,
        keyed_map=1,
        solver=SolverRecord(12, 0.04, 1.5, 1e-3, 8),
        guidance=Guidance(1.5, 0.75, 0.25, 0.3),
        width=640,
        height=480,
        pixel_digest=b"\x22" * 32,
        grayscale=False,
        capsule=True,
        faces=(face(), face(x=300, y=-8, cell=9, fidelity=41)),
    )
    return replace(made, **changes)


def same(one: Header, other: Header) -> bool:
    fixed = all(getattr(one, n) == getattr(other, n) for n in Header.__annotations__ if n != "faces")
    faces = [
        (f.x, f.y, f.cell, f.mask.tolist(), f.landmarks.tolist(), f.nonce, f.fidelity)
        for f in (*one.faces, *other.faces)
    ]
    return fixed and len(one.faces) == len(other.faces) and faces[: len(one.faces)] == faces[len(one.faces) :]


def test_a_header_comes_back_from_its_bytes():
    content = encode_header(header(), VECTOR_KEY)
    assert same(parse_header(content), header())
    authenticate_header(content, parse_header(content), VECTOR_KEY)


def test_the_bytes_are_those_of_the_published_vector():
    assert encode_header(header(), VECTOR_KEY).hex() == VECTORS["header"]
    assert key_commitment(VECTOR_KEY).hex() == VECTORS["commitment"]


def test_every_profile_survives_the_header_unchanged():
    for profile in PROFILES.values():
        made = header(solver=profile.solver, guidance=profile.guidance)
        assert same(parse_header(encode_header(made, VECTOR_KEY)), made)


@pytest.mark.parametrize(("version", "guidance"), [(1, UNGUIDED), (2, Guidance(1.5, 0.75, 0.25))])
def test_headers_of_earlier_versions_are_read_as_they_were_meant(version, guidance):
    content = bytes.fromhex(VECTORS[f"header_version_{version}"])
    assert same(parse_header(content), header(guidance=guidance))
    authenticate_header(content, parse_header(content), VECTOR_KEY)
    with pytest.raises(SealedFileError):
        parse_header(content[:-1])


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_is_not_taken_for_one_of_an_earlier_version(version):
    content = bytearray(encode_header(header(), VECTOR_KEY))
    content[8] = version
    with pytest.raises(SealedFileError):
        parse_header(bytes(content))


@pytest.mark.parametrize("bit", range(0, 8 * 300, 37))
def test_every_flipped_bit_is_noticed(bit):
    content = bytearray(encode_header(header(), VECTOR_KEY))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises((SealedFileError, WrongKey, HeaderAltered)):
        authenticate_header(bytes(content), parse_header(bytes(content)), VECTOR_KEY)


def test_an_altered_field_is_reported_as_an_altered_header():
    genuine = encode_header(header(), VECTOR_KEY)
    forged = encode_header(header(width=641), VECTOR_KEY)[:-32] + genuine[-32:]
    with pytest.raises(HeaderAltered):
        authenticate_header(forged, parse_header(forged), VECTOR_KEY)


def test_another_key_is_refused_by_the_commitment():
    content = encode_header(header(), VECTOR_KEY)
    flipped = ImageKey(VECTOR_KEY.key_id, bytes([1, *range(1, 32)]))
    with pytest.raises(WrongKey, match="not the key"):
        authenticate_header(content, parse_header(content), flipped)


@pytest.mark.parametrize("length", [0, 7, 8, 100, 200, -1, 10_000])
def test_a_cut_or_padded_header_is_refused(length):
    content = encode_header(header(), VECTOR_KEY)
    content = content[:length] if length < len(content) else content.ljust(length, b"\0")
    with pytest.raises(SealedFileError):
        parse_header(content)


@given(st.binary(max_size=600))
def test_garbage_is_refused_and_never_crashes(content):
    for candidate in (content, encode_header(header(), VECTOR_KEY)[:8] + content):
        with pytest.raises(SealedFileError):
            parse_header(candidate)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"faces": ()}, "impossible"),
        ({"width": 0}, "impossible"),
        ({"height": 1 << 21}, "impossible"),
        ({"keyed_map": 9}, "keyed map 9"),
        ({"faces": (face(cell=128),) * 3}, "32 times"),
        ({"faces": (face(x=640),)}, "outside"),
        ({"faces": (face(cell=0),)}, "outside"),
        ({"faces": (face(mask=np.zeros((16, 16), bool)),)}, "empty mask"),
    ],
)
def test_an_impossible_field_is_refused_by_name(changes, words):
    with pytest.raises(SealedFileError, match=words):
        parse_header(encode_header(header(**changes), VECTOR_KEY))


def test_a_later_version_asks_for_an_update():
    content = bytearray(encode_header(header(), VECTOR_KEY))
    content[8] = 4
    with pytest.raises(SealedFileError, match="update"):
        parse_header(bytes(content))


def test_the_number_of_faces_is_bounded():
    content = bytearray(encode_header(header(), VECTOR_KEY))
    assert len(content) < MAX_HEADER_BYTES
    with pytest.raises(SealedFileError):
        parse_header(bytes(content[:-32]) + bytes(MAX_HEADER_BYTES))


def test_the_pixel_digest_covers_size_and_every_pixel():
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    changed = pixels.copy()
    changed[2, 3, 2] ^= 1
    digests = {pixel_digest(p) for p in (pixels, changed, pixels.reshape(4, 3, 3))}
    assert len(digests) == 3
    assert pixel_digest(pixels).hex() == VECTORS["pixel_digest"]


def test_the_pixel_digest_covers_the_colour_profile():
    pixels = np.zeros((3, 4, 3), dtype=np.uint8)
    assert len({pixel_digest(pixels, profile) for profile in (None, b"wide", b"narrow")}) == 3


def test_landmarks_are_rounded_to_what_the_header_holds():
    points = np.array([[0.07, 1000.0]] * 5)
    assert quantize_landmarks(points)[0].tolist() == [1 / 8, 127 / 8]


@pytest.mark.parametrize(
    "settings",
    [
        (0, 0.04, 1.5, 1e-3, 8),
        (65, 0.04, 1.5, 1e-3, 8),
        (12, 1.0, 1.5, 1e-3, 8),
        (12, 0.04, 1.55, 1e-3, 8),
        (12, 0.04, 1.5, 4e-6, 8),
        (12, 0.04, 1.5, 1e-3, 33),
    ],
)
def test_solver_settings_that_a_header_cannot_hold_are_refused(settings):
    with pytest.raises(ValueError, match="solver's settings"):
        SolverRecord(*settings)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (91, 0, "solver"),
        (91, 65, "solver"),
        (97, 33, "solver"),
        (94, 4, "solver"),
        (98, 9, "guidance"),
        (98, 51, "guidance"),
        (99, 101, "guidance"),
        (99, 24, "guidance"),
        (100, 76, "guidance"),
        (101, 101, "guidance"),
    ],
)
def test_impossible_settings_of_the_ode_in_a_file_are_refused(offset, value, words):
    content = bytearray(encode_header(header(), VECTOR_KEY))
    content[offset] = value
    with pytest.raises(SealedFileError, match=words):
        parse_header(bytes(content))


def test_the_published_description_has_the_sizes_of_the_code():
    page = (Path(__file__).parents[3] / "docs" / "envelope.md").read_text()
    one, two = (len(encode_header(header(faces=(face(),) * n), VECTOR_KEY)) for n in (1, 2))
    assert f"| 144 | {two - one} each | the faces |" in page
    assert one == 144 + (two - one) + 32
    assert f"| {MAX_HEADER_BYTES:,} bytes |" in page


def test_numbers_in_the_header_mean_what_the_generator_means():
    assert tuple(m.name for m in KEYED_MAPS) == KEYED_MAP_NAMES
    assert header().faces[0].side == GRID * 8
