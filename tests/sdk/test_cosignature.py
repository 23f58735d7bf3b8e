"""Cosignatures of witnesses: what the specification and others' implementations have, and what must not pass."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from faceseal.cosignature import (
    WitnessKey,
    cosign,
    cosignatures,
    cosignatures_of,
    merged,
    signature_lines,
    text_of,
    usable_name,
    with_cosignatures,
)
from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, VerifierKey, open_checkpoint, sign_checkpoint

LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
NAME = "witness.example/w1"
KEY = WitnessKey(NAME, WITNESS.public_key().public_bytes_raw())
NOTE = sign_checkpoint(Checkpoint("log.example/1", 7, bytes(32)), LOG, "log.example/1")
TIME = 1_800_000_000
# A key of a witness that is on the air (transparency-dev/formats, note_cosigv1_test.go).
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
# A key of the tests of transparency-dev's tessera.
WIT2 = "Wit2+112f0455+BCy8NYvyk7N1dkxNxgrI3YAJzQDc0FIfs0q7q8U/cwOF"
# The example of https://c2sp.org/tlog-cosignature, and the time that it names for it.
SPECIFIED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501 - as it stands there
SPECIFIED_TIME = 1_679_315_147


@pytest.mark.parametrize("text", [REMORA, WIT2])
def test_keys_of_others_are_read_and_written_as_they_write_them(text: str) -> None:
    key = WitnessKey.parse(text)
    assert ([key.name, key.key_id.hex()], str(key)) == (text.split("+")[:2], text)


def test_the_specification_s_example_has_the_parts_that_ours_has() -> None:
    text, lines = text_of(SPECIFIED), signature_lines(SPECIFIED)
    assert text.splitlines() == SPECIFIED.splitlines()[:3]
    assert len(lines) == 2
    theirs = base64.b64decode(lines[1].split(" ")[2])
    ours = base64.b64decode(cosign(text, WITNESS, NAME, SPECIFIED_TIME).split(" ")[2])
    assert len(theirs) == len(ours) == 4 + 8 + 64
    assert theirs[4:12] == ours[4:12]


def test_what_is_signed_is_what_the_specification_says() -> None:
    line = cosign(text_of(NOTE), WITNESS, NAME, TIME)
    signature = base64.b64decode(line.split(" ")[2])
    message = b"cosignature/v1\ntime 1800000000\nlog.example/1\n7\n" + base64.b64encode(bytes(32)) + b"\n"
    WITNESS.public_key().verify(signature[12:], message)
    assert signature[:4] == KEY.key_id


def test_a_cosigned_checkpoint_is_still_the_log_s_and_says_who_cosigned_it_and_when() -> None:
    (one,) = cosignatures(text_of(NOTE), [cosign(text_of(NOTE), WITNESS, NAME, TIME)], [KEY])
    note = with_cosignatures(NOTE, [one, one])
    assert open_checkpoint(note, VerifierKey("log.example/1", LOG.public_key().public_bytes_raw())).size == 7
    assert [(found.witness, found.time) for found in cosignatures_of(note, [KEY])] == [(KEY, TIME)]
    assert with_cosignatures(note, [one]) == note


def test_extension_lines_are_cosigned_too() -> None:
    text = text_of(NOTE) + "extension\n"
    line = cosign(text, WITNESS, NAME, TIME)
    assert cosignatures(text, [line], [KEY])
    with pytest.raises(TransparencyError):
        cosignatures(text_of(NOTE), [line], [KEY])


def test_lines_of_strangers_say_nothing() -> None:
    stranger = Ed25519PrivateKey.generate()
    for line in (cosign(text_of(NOTE), stranger, NAME, TIME), cosign(text_of(NOTE), WITNESS, "other", TIME)):
        assert cosignatures(text_of(NOTE), [line], [KEY]) == []
    # The log's own key, which is of another type, is no witness's.
    assert cosignatures_of(NOTE, [WitnessKey("log.example/1", LOG.public_key().public_bytes_raw())]) == []


@given(st.integers(0, 76 * 8 - 1))
def test_no_bit_of_a_cosignature_can_be_changed(bit: int) -> None:
    line = cosign(text_of(NOTE), WITNESS, NAME, TIME)
    signature = bytearray(base64.b64decode(line.split(" ")[2]))
    signature[bit // 8] ^= 1 << bit % 8
    changed = f"— {NAME} {base64.b64encode(signature).decode()}\n"
    try:
        assert cosignatures(text_of(NOTE), [changed], [KEY]) == []
        assert bit < 32
    except TransparencyError:
        assert bit >= 32


@pytest.mark.parametrize(
    "line",
    ["", "\n", "— ", "— x\n", "— w eA==", "— w !!\n", "- w eA==\n", "— w " + "A" * 5 + "\n", "—  eA==\n"],
)
def test_what_is_no_signature_line_is_refused(line: str) -> None:
    with pytest.raises(TransparencyError):
        cosignatures(text_of(NOTE), [line], [KEY])


@pytest.mark.parametrize("length", [0, 7, 63, 71, 73])
def test_a_cosignature_of_another_length_is_refused(length: int) -> None:
    line = f"— {NAME} {base64.b64encode(KEY.key_id + bytes(length)).decode()}\n"
    with pytest.raises(TransparencyError):
        cosignatures(text_of(NOTE), [line], [KEY])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        REMORA.replace("da77", "da78"),
        REMORA[:-4],
        REMORA.replace("+BO", "+AO"),
        str(VerifierKey("log", bytes(32))),
        str(KEY).replace(NAME, "wit ness"),
        f"a+b{REMORA}",
    ],
)
def test_what_is_no_witness_s_key_is_refused(text: str) -> None:
    with pytest.raises(TransparencyError):
        WitnessKey.parse(text)


@pytest.mark.parametrize("note", ["", "a\n", "a\n\n", "a\n\n— b", "\n\n— b c\n", "x" * 5000 + "\n\n— b c\n"])
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(TransparencyError):
        text_of(note)


def test_of_several_by_one_witness_the_newest_counts() -> None:
    lines = [cosign(text_of(NOTE), WITNESS, NAME, TIME + each) for each in (1, 3, 2)]
    assert [one.time for one in cosignatures(text_of(NOTE), lines, [KEY])] == [TIME + 3]
    first, second = (cosignatures(text_of(NOTE), [line], [KEY]) for line in lines[:2])
    assert merged(first, second) == merged(second, first) == second


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "é", "x" * 101])
def test_names_that_a_note_cannot_carry_are_not_usable(name: str) -> None:
    assert not usable_name(name)
