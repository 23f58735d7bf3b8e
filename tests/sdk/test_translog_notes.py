"""Signed notes and checkpoints: only what the log's key has signed opens."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.errors import TransparencyError
from faceseal.translog import (
    Checkpoint,
    VerifierKey,
    open_checkpoint,
    sign_checkpoint,
)

# Signed notes.  This checkpoint and its key are the Go checksum database's.

GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_NOTE = (
    "go.sum database tree\n65209736\n5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=\n\n"
    "— sum.golang.org Az3grnbssgK7ubgFX36gVETtNv0U23qxyAhAMai2QUfeGa3nB/akvkMdlUErfcZz7l/R3cVtYspg3dxXABkGZZKdsQ8=\n"
)
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey("log.example", PRIVATE.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint("log.example", 7, bytes(range(32)))
NOTE = sign_checkpoint(CHECKPOINT, PRIVATE, "log.example")


def test_a_checkpoint_that_another_implementation_signed_opens():
    checkpoint = open_checkpoint(GO_NOTE, VerifierKey.parse(GO_KEY))
    assert checkpoint.origin == "go.sum database tree"
    assert checkpoint.size == 65209736
    assert base64.b64encode(checkpoint.root) == b"5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo="


@pytest.mark.parametrize(
    "text",
    [
        GO_KEY,
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_published_verifier_keys_are_read_and_written_back(text):
    assert str(VerifierKey.parse(f"  {text}\n")) == text


def test_a_checkpoint_opens_with_its_key_and_says_what_was_signed():
    assert open_checkpoint(NOTE, KEY) == CHECKPOINT
    assert open_checkpoint(NOTE, VerifierKey.parse(str(KEY))) == CHECKPOINT


def test_a_checkpoint_may_carry_an_extension_line():
    body = CHECKPOINT.body() + "extension\n"
    signature = base64.b64encode(KEY.key_hash + PRIVATE.sign(body.encode())).decode()
    assert open_checkpoint(f"{body}\n— log.example {signature}\n", KEY) == CHECKPOINT


def test_a_checkpoint_may_carry_further_signatures():
    other = sign_checkpoint(CHECKPOINT, Ed25519PrivateKey.generate(), "witness.example").splitlines()[-1]
    assert open_checkpoint(NOTE + other + "\n", KEY) == CHECKPOINT
    first, _, last = NOTE.rpartition("— ")
    assert open_checkpoint(f"{first}{other}\n— {last}", KEY) == CHECKPOINT


def test_no_changed_character_of_a_checkpoint_goes_unnoticed():
    for position, character in enumerate(NOTE):
        for other in ("\n", "0", "A", " ", ""):
            changed = NOTE[:position] + other + NOTE[position + 1 :]
            if other != character and changed != NOTE:
                with pytest.raises(TransparencyError):
                    open_checkpoint(changed, KEY)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + "unsigned line\n",
        NOTE.replace("—", "-"),
        NOTE.replace("\n7\n", "\n07\n"),
        NOTE.replace("\n7\n", "\n+7\n"),
        NOTE.replace("\n7\n", "\n-7\n"),
        NOTE.replace("\n7\n", "\n7_0\n"),
        NOTE.replace("\n7\n", "\n٧\n"),
        NOTE.replace("\n7\n", "\n" + "9" * 5000 + "\n"),
        NOTE + "— log.example AAAA\n" * 400,
    ],
)
def test_what_is_no_signed_checkpoint_is_refused(note):
    with pytest.raises(TransparencyError):
        open_checkpoint(note, KEY)


@pytest.mark.parametrize(
    "body", ["log.example\n07\n", "log.example\n+7\n", "log.example\n-7\n", "\n7\n", "log.example\n 7\n"]
)
def test_a_correctly_signed_but_malformed_body_is_refused(body):
    text = body + base64.b64encode(CHECKPOINT.root).decode() + "\n"
    signature = base64.b64encode(KEY.key_hash + PRIVATE.sign(text.encode())).decode()
    with pytest.raises(TransparencyError, match=r"malformed|not a signed note"):
        open_checkpoint(f"{text}\n— log.example {signature}\n", KEY)


def test_a_root_of_another_length_is_refused_although_it_is_signed():
    note = sign_checkpoint(Checkpoint("log.example", 7, bytes(31)), PRIVATE, "log.example")
    with pytest.raises(TransparencyError, match="malformed"):
        open_checkpoint(note, KEY)


def test_another_logs_key_does_not_open_a_checkpoint():
    stranger = Ed25519PrivateKey.generate()
    for key in (
        VerifierKey("log.example", stranger.public_key().public_bytes_raw()),
        VerifierKey("other.example", KEY.public),
    ):
        with pytest.raises(TransparencyError, match="not signed by"):
            open_checkpoint(NOTE, key)
    # A note that claims the log's name and key hash, but was signed by another key.
    signature = base64.b64encode(KEY.key_hash + stranger.sign(CHECKPOINT.body().encode())).decode()
    with pytest.raises(TransparencyError, match="signature is wrong"):
        open_checkpoint(f"{CHECKPOINT.body()}\n— log.example {signature}\n", KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log.example",
        "log.example+12345678",
        str(KEY)[:-4],
        str(KEY).replace("log", "lag"),
        str(KEY).replace("log", "l g"),
        "+" + str(KEY).split("+", 1)[1],
        f"{'x' * 300}+{str(KEY).split('+', 1)[1]}",
        "log.example+deadbeef+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
        "log.example+deadbeef+!!!!",
        "log.example+ünïcode+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
    ],
)
def test_what_is_no_verifier_key_is_refused(text):
    with pytest.raises(TransparencyError, match="verifier key"):
        VerifierKey.parse(text)
