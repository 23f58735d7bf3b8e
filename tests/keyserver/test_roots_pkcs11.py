"""The PKCS#11 root on SoftHSM; not collected where that is not installed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from softhsm import PIN, make_token, softhsm_driver

from keyserver import installation, keywrap
from keyserver.errors import SetupError, Unavailable, WrapBroken
from keyserver.keywrap import FileRoot, TimeLimited
from keyserver.keywrap.pkcs11_token import Pkcs11Root, WrapMechanism, unwrap_with_kwp, wrap_with_kwp
from keyserver.settings import Settings

DRIVER = softhsm_driver()
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "nist-gcm-kwp.json").read_text())
KEK = bytes(range(32))
EVERY_USE = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT | MechanismFlag.WRAP | MechanismFlag.UNWRAP
MECHANISMS = list(WrapMechanism)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A token of our own with the keys `keyserver-root` and `another`."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        make_token("keyserver")
        token = pkcs11.lib(str(DRIVER)).get_token(token_label="keyserver")
        with token.open(rw=True, user_pin=PIN) as session:
            for label in ("keyserver-root", "another", "twice", "twice"):
                session.generate_key(KeyType.AES, 256, label=label, store=True, capabilities=EVERY_USE)
            session.generate_key(KeyType.AES, 128, label="short", store=True, capabilities=EVERY_USE)
            template = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
            session.generate_key(KeyType.AES, 256, label="loose", store=True, template=template, capabilities=EVERY_USE)
        yield token


def root(
    mechanism: WrapMechanism = WrapMechanism.GCM, label: str = "keyserver-root", pin: str = PIN, name: str = "keyserver"
) -> Pkcs11Root:
    assert DRIVER is not None
    return Pkcs11Root(DRIVER, name, label, pin, mechanism, os.urandom)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_kek_comes_back_whatever_mechanism_is_set_now(token: Any, mechanism: WrapMechanism) -> None:
    wrapped = root(mechanism).wrap(KEK, b"context")
    assert KEK not in wrapped
    for now in MECHANISMS:
        assert root(now).unwrap(wrapped, b"context") == KEK


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_kek_opens_only_for_its_tenant_epoch_and_key(token: Any, mechanism: WrapMechanism) -> None:
    wrapped = keywrap.wrap_new_kek(root(mechanism), "default", 1, os.urandom)
    keywrap.open_kek(root(), wrapped, "default", 1)
    for tenant, epoch in (("other", 1), ("default", 2)):
        with pytest.raises(WrapBroken):
            keywrap.open_kek(root(), wrapped, tenant, epoch)
    with pytest.raises(WrapBroken):
        keywrap.open_kek(root(label="another"), wrapped, "default", 1)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_altered_byte_and_length_is_noticed(token: Any, mechanism: WrapMechanism) -> None:
    wrapped = root(mechanism).wrap(KEK, b"context")
    opening = root()
    spoiled = [wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :] for place in range(len(wrapped))]
    spoiled += [wrapped[:length] for length in range(len(wrapped))] + [wrapped + b"\x00", b"\x03" + wrapped[1:]]
    for each in spoiled:
        with pytest.raises(WrapBroken):
            opening.unwrap(each, b"context")


def test_parts_of_two_kwp_wrappings_do_not_make_a_third(token: Any) -> None:
    kwp = root(WrapMechanism.KWP)
    mine, theirs = kwp.wrap(KEK, b"mine"), kwp.wrap(bytes(32), b"theirs")
    for mixed in (mine[:41] + theirs[41:], theirs[:41] + mine[41:]):
        for context in (b"mine", b"theirs"):
            with pytest.raises(WrapBroken):
                kwp.unwrap(mixed, context)


def imported(session: Any, key: bytes) -> Any:
    template = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: key,
        Attribute.TOKEN: False,
        Attribute.WRAP: True,
        Attribute.UNWRAP: True,
    }
    return session.create_object(template)


# SoftHSM 2.6 fills up other lengths in a way of its own; a KEK's key is four whole blocks.
WHOLE_BLOCKS = [case for case in VECTORS["kwp"] if len(case["plaintext"]) % 16 == 0]


@pytest.mark.parametrize("case", WHOLE_BLOCKS, ids=lambda case: f"{len(case['plaintext']) // 2} bytes")
def test_the_tokens_kwp_is_nists(token: Any, case: dict[str, str]) -> None:
    key, plaintext, ciphertext = (bytes.fromhex(case[name]) for name in ("key", "plaintext", "ciphertext"))
    with token.open(user_pin=PIN) as session:
        wrapping = imported(session, key)
        assert wrap_with_kwp(session, wrapping, plaintext, Mechanism.AES_KEY_WRAP_PAD) == ciphertext
        assert unwrap_with_kwp(wrapping, ciphertext, Mechanism.AES_KEY_WRAP_PAD) == plaintext


def test_the_tokens_kwp_of_a_key_is_that_of_the_library_which_agrees_with_nist(token: Any) -> None:
    for case in VECTORS["kwp"]:
        key, plaintext, ciphertext = (bytes.fromhex(case[name]) for name in ("key", "plaintext", "ciphertext"))
        assert aes_key_wrap_with_padding(key, plaintext) == ciphertext
    with token.open(user_pin=PIN) as session:
        wrapping = imported(session, KEK)
        for secret in (bytes(32), b"\xff" * 32, os.urandom(32)):
            wrapped = wrap_with_kwp(session, wrapping, secret, Mechanism.AES_KEY_WRAP_PAD)
            assert wrapped == aes_key_wrap_with_padding(KEK, secret)


@pytest.mark.parametrize("case", VECTORS["kwp_refused"], ids=lambda case: case["ciphertext"][:8])
def test_the_token_refuses_what_nist_says_must_not_open(token: Any, case: dict[str, str]) -> None:
    with token.open(user_pin=PIN) as session:
        wrapping = imported(session, bytes.fromhex(case["key"]))
        with pytest.raises(pkcs11.PKCS11Error):
            unwrap_with_kwp(wrapping, bytes.fromhex(case["ciphertext"]), Mechanism.AES_KEY_WRAP_PAD)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "missing"}, "holds 0 AES keys"),
        ({"label": "twice"}, "holds 2 AES keys"),
        ({"label": "short"}, "not an AES key of 256 bits"),
        ({"label": "loose"}, "can be taken out"),
        ({"name": "missing"}, "there is not exactly one PKCS#11 token"),
        ({"pin": "000000"}, "refuses its PIN"),
    ],
    ids=str,
)
def test_a_token_that_is_not_fit_is_refused_at_the_start(token: Any, fields: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words) as refusal:
        root(**fields).check()  # type: ignore[arg-type]
    assert PIN not in str(refusal.value)
    for mechanism in MECHANISMS:
        root(mechanism).check()


def test_a_refused_pin_is_tried_once_lest_the_token_locks(token: Any) -> None:
    wrong = root(pin="000000")
    with pytest.raises(SetupError, match="refuses its PIN"):
        wrong.check()
    for _ in range(20):
        with pytest.raises(SetupError, match="not tried again"):
            wrong.check()
    root().check()


def test_a_token_that_vanishes_while_the_server_runs_is_an_outage(token: Any) -> None:
    gone = TimeLimited(root(label="missing"), 10, 1)
    with pytest.raises(Unavailable, match="no longer usable"):
        gone.wrap(KEK, b"c")


def test_a_file_that_is_no_driver_is_refused(tmp_path: Path) -> None:
    (tmp_path / "driver.so").write_bytes(b"no driver")
    for path in (tmp_path / "driver.so", tmp_path / "missing.so"):
        with pytest.raises(SetupError, match="cannot be loaded"):
            Pkcs11Root(path, "keyserver", "keyserver-root", PIN, WrapMechanism.GCM, os.urandom)


def test_the_pin_is_not_shown(token: Any) -> None:
    assert PIN not in repr(root())
    assert PIN not in repr(vars(TimeLimited(root(), 1, 1)))


@pytest.fixture
def pkcs11_settings(token: Any, tmp_path: Path) -> Settings:
    (tmp_path / "pin").write_text(PIN + "\n")
    (tmp_path / "pin").chmod(0o600)
    fields = {"pkcs11_module": DRIVER, "pkcs11_token": "keyserver", "pkcs11_pin_file": tmp_path / "pin"}
    return Settings(data=tmp_path / "data", root="pkcs11", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_installation_lives_on_a_token(
    pkcs11_settings: Settings, mechanism: WrapMechanism, token_calls: Callable[[], int]
) -> None:
    settings = pkcs11_settings.model_copy(update={"pkcs11_mechanism": mechanism.value})
    installation.initialise(settings, "default", 1).database.close()
    assert not settings.root_key_file.exists()
    ports = installation.open_ports(settings)
    with ports.database.reading() as session:
        row = installation.queries.current_kek(session, "default")
    assert row is not None
    before = token_calls()
    for _ in range(10):
        keywrap.open_kek(ports.root, row.wrapped, row.tenant, row.epoch)
    assert token_calls() == before
    with pytest.raises(WrapBroken):
        keywrap.open_kek(FileRoot(bytes(32), os.urandom), row.wrapped, row.tenant, row.epoch)
    ports.database.close()
    other_key = settings.model_copy(update={"pkcs11_key": "another"})
    with pytest.raises(SetupError, match=r"the root \(pkcs11\) does not open"):
        installation.open_ports(other_key)


@pytest.fixture
def token_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the token was asked to unwrap."""
    calls = []
    unwrap = Pkcs11Root.unwrap

    def counted(self: Pkcs11Root, wrapped: bytes, context: bytes) -> bytes:
        calls.append(context)
        return unwrap(self, wrapped, context)

    monkeypatch.setattr(Pkcs11Root, "unwrap", counted)
    return lambda: len(calls)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_pin_file_open_to_others_is_refused(pkcs11_settings: Settings, mode: int) -> None:
    assert pkcs11_settings.pkcs11_pin_file is not None
    pkcs11_settings.pkcs11_pin_file.chmod(mode)
    with pytest.raises(SetupError, match="chmod 600"):
        installation.initialise(pkcs11_settings, "default", 1)


@pytest.mark.parametrize("content", [b"", b"\n", b"12 34", b"12\n34\n", b"\xff", b"1" * 1100])
def test_a_pin_file_with_anything_but_a_line_is_refused(pkcs11_settings: Settings, content: bytes) -> None:
    assert pkcs11_settings.pkcs11_pin_file is not None
    pkcs11_settings.pkcs11_pin_file.write_bytes(content)
    with pytest.raises(SetupError, match="one line of printable characters"):
        installation.initialise(pkcs11_settings, "default", 1)
