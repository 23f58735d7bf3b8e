"""A root in a security module: an AES-256 key that never leaves its PKCS#11 token.

Two mechanisms; the first byte of what is wrapped says which, so that both open:

- ``1``, AES-GCM: ``nonce (12) || ciphertext (32) || tag (16)``, the context as associated data;
- ``2``, AES-KWP (RFC 5649), for tokens whose GCM chooses nonces itself or is not there.  KWP
  authenticates no context, so the token wraps a fresh key for this one use (40 bytes), and
  under that the KEK is sealed with AES-256-GCM, the context as associated data (60 bytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import (
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
    MultipleTokensReturned,
    NoSuchToken,
    PinIncorrect,
    PinLocked,
    PKCS11Error,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)

from keyserver.errors import SetupError, WrapBroken
from keyserver.keywrap.aead import KEY_BYTES, NONCE_BYTES, SEALED_BYTES, open_sealed, seal
from keyserver.keywrap.root import Random

_GCM, _KWP = b"\x01", b"\x02"
_TAG_BITS = 128
_KWP_BYTES = KEY_BYTES + 8
# What tokens say to bytes that they did not wrap; SoftHSM has nothing more precise than GeneralError.
_DOES_NOT_OPEN = (
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
    GeneralError,
    FunctionFailed,
)


class WrapMechanism(StrEnum):
    """How the token wraps new KEKs; it opens those of either."""

    GCM = "aes-gcm"
    KWP = "aes-kwp"


class Pkcs11Root:
    """A root whose key is found in a token by its label.  One call at a time."""

    def __init__(
        self, module: Path, token: str, label: str, pin: str, mechanism: WrapMechanism, random: Random
    ) -> None:
        """Loads the driver.  Raises SetupError if it cannot be loaded."""
        try:
            self._library = pkcs11.lib(str(module))
        except (RuntimeError, OSError):
            raise SetupError(f"{module} cannot be loaded as a PKCS#11 driver") from None
        self._token = token
        self._label = label
        self._pin = pin
        self._mechanism = mechanism
        self._random = random
        self._pin_refused = False

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        with self._session() as session:
            key = self._key(session)
            if self._mechanism is WrapMechanism.GCM:
                nonce = self._random(NONCE_BYTES)
                sealed = key.encrypt(kek, mechanism=Mechanism.AES_GCM, mechanism_param=_gcm(nonce, context))
                return _GCM + nonce + bytes(sealed)
            once = self._random(KEY_BYTES)
            wrapped = wrap_with_kwp(session, key, once, _kwp(session))
        return _KWP + wrapped + seal(once, kek, context, self._random(NONCE_BYTES))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        kind, rest = wrapped[:1], wrapped[1:]
        if (kind, len(rest)) not in ((_GCM, SEALED_BYTES), (_KWP, _KWP_BYTES + SEALED_BYTES)):
            raise WrapBroken("a wrapped key is not of this kind of root")
        with self._session() as session:
            key = self._key(session)
            try:
                if kind == _GCM:
                    nonce, sealed = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
                    kek = key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=_gcm(nonce, context))
                    return _of_key_length(kek)
                once = unwrap_with_kwp(key, rest[:_KWP_BYTES], _kwp(session))
            except _DOES_NOT_OPEN:
                raise WrapBroken("a wrapped key does not open") from None
        return open_sealed(_of_key_length(once), rest[_KWP_BYTES:], context)

    def check(self) -> None:
        """See `RemoteRoot`."""
        try:
            with self._session() as session:
                self._key(session)
                if self._mechanism is WrapMechanism.KWP:
                    _kwp(session)
                elif Mechanism.AES_GCM not in session.token.slot.get_mechanisms():
                    raise SetupError("the token has no AES-GCM; set KEYSERVER_PKCS11_MECHANISM=aes-kwp")
        except PKCS11Error as cause:
            raise SetupError(f"the PKCS#11 token cannot be used ({type(cause).__name__})") from None

    @contextmanager
    def _session(self) -> Iterator[pkcs11.Session]:
        # A session a call: one that is kept does not survive a restart of the module.
        if self._pin_refused:
            raise SetupError("the token refused its PIN; it is not tried again, for that would lock the token")
        try:
            session = self._library.get_token(token_label=self._token).open(user_pin=self._pin)
        except (PinIncorrect, PinLocked):
            self._pin_refused = True
            raise SetupError("the token refuses its PIN, or is locked") from None
        except (NoSuchToken, MultipleTokensReturned):
            raise SetupError(f"there is not exactly one PKCS#11 token with the label {self._token}") from None
        with session:
            yield session

    # Any: what a key can do is mixed in at run time, by its capabilities, and the library's types lack it.
    def _key(self, session: pkcs11.Session) -> Any:
        wanted = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.LABEL: self._label,
        }
        found = list(session.get_objects(wanted))
        if len(found) != 1 or not isinstance(found[0], pkcs11.SecretKey):
            raise SetupError(f"the token holds {len(found)} AES keys with the label {self._label}, not one")
        key = found[0]
        if key[Attribute.VALUE_LEN] != KEY_BYTES:
            raise SetupError(f"the token's key {self._label} is not an AES key of 256 bits")
        if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
            raise SetupError(f"the token's key {self._label} can be taken out of it; make one that cannot")
        return key


def wrap_with_kwp(session: pkcs11.Session, key: Any, secret: bytes, mechanism: Mechanism) -> bytes:
    """RFC 5649 by the token, over a secret of whole blocks of 8 bytes; 8 bytes longer than it."""
    template = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
        Attribute.VALUE: secret,
        Attribute.TOKEN: False,
        Attribute.EXTRACTABLE: True,
        Attribute.SENSITIVE: False,
    }
    return bytes(key.wrap_key(session.create_object(template), mechanism=mechanism))


def unwrap_with_kwp(key: Any, wrapped: bytes, mechanism: Mechanism) -> bytes:
    """The inverse of `wrap_with_kwp`.  Raises what the token raises if it does not open."""
    template = {Attribute.TOKEN: False, Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
    opened = key.unwrap_key(
        ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, wrapped, mechanism=mechanism, template=template
    )
    return bytes(opened[Attribute.VALUE])


def _kwp(session: pkcs11.Session) -> Mechanism:
    # The name of PKCS#11 3.0 first; before it, AES_KEY_WRAP_PAD was RFC 5649 in most tokens.
    offered = session.token.slot.get_mechanisms()
    for mechanism in (Mechanism.AES_KEY_WRAP_KWP, Mechanism.AES_KEY_WRAP_PAD):
        if mechanism in offered:
            return mechanism
    raise SetupError("the token has no AES key wrap with padding")


def _gcm(nonce: bytes, context: bytes) -> pkcs11.GCMParams:
    return pkcs11.GCMParams(nonce, context, _TAG_BITS)


def _of_key_length(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise WrapBroken("a wrapped key has the wrong length")
    return key
