"""A root in Vault's transit engine: an aes256-gcm96 key; the context travels as associated data.

The token's policy needs `update` on transit/encrypt/KEY and transit/decrypt/KEY, and `read`
on transit/keys/KEY.  Without `create` on encrypt, a name that is wrong makes no new key.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError
from requests.exceptions import RequestException

from keyserver.errors import SetupError, Unavailable, WrapBroken
from keyserver.keywrap.aead import KEY_BYTES

_READ_SECONDS = 4
_MAX_WRAPPED_BYTES = 1024
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_MUST_BE_FALSE = ("derived", "exportable", "allow_plaintext_backup")


class VaultTransitRoot:
    """A root whose key never leaves Vault.  Its calls may run at once."""

    def __init__(self, url: str, token: str, mount: str, key: str) -> None:
        """Raises SetupError if `url` is not https (http only on the own machine)."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise SetupError("KEYSERVER_VAULT_URL must begin with https://")
        if parts.username is not None or parts.password is not None or not parts.hostname:
            raise SetupError("KEYSERVER_VAULT_URL must name a host, and no user")
        # Redirects would carry the token to wherever they point.
        client = hvac.Client(url=url, token=token, timeout=_READ_SECONDS, allow_redirects=False)
        self._transit = client.secrets.transit
        self._mount = mount
        self._name = key

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        try:
            answer = self._transit.encrypt_data(
                self._name, plaintext=_base64(kek), associated_data=_base64(context), mount_point=self._mount
            )
            return _of_answer(answer, "ciphertext").encode("ascii")
        except (VaultError, RequestException, UnicodeEncodeError) as cause:
            raise Unavailable(f"Vault did not wrap ({type(cause).__name__})") from None

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        try:
            ciphertext = wrapped[: _MAX_WRAPPED_BYTES + 1].decode("ascii")
        except UnicodeDecodeError:
            ciphertext = ""
        if not ciphertext.startswith("vault:v") or len(wrapped) > _MAX_WRAPPED_BYTES:
            raise WrapBroken("a wrapped key is not of this kind of root")
        try:
            answer = self._transit.decrypt_data(
                self._name, ciphertext=ciphertext, associated_data=_base64(context), mount_point=self._mount
            )
            kek = base64.b64decode(_of_answer(answer, "plaintext"), validate=True)
        except InvalidRequest as cause:
            if "key not found" in str(cause):
                raise Unavailable("Vault no longer has the key") from None
            raise WrapBroken("a wrapped key does not open") from None
        except (VaultError, RequestException, binascii.Error) as cause:
            raise Unavailable(f"Vault did not unwrap ({type(cause).__name__})") from None
        if len(kek) != KEY_BYTES:
            raise WrapBroken("a wrapped key has the wrong length")
        return kek

    def check(self) -> None:
        """See `RemoteRoot`.  Raises Unavailable if Vault is not reached, or sealed."""
        try:
            key = self._transit.read_key(self._name, mount_point=self._mount)["data"]
        except (Forbidden, Unauthorized, InvalidPath) as cause:
            raise SetupError(f"Vault does not show the transit key {self._name} ({type(cause).__name__})") from None
        except (VaultError, RequestException, KeyError, TypeError, ValueError) as cause:
            raise Unavailable(f"Vault was not reached ({type(cause).__name__})") from None
        if key.get("type") != "aes256-gcm96":
            raise SetupError(f"the transit key {self._name} is not of the type aes256-gcm96")
        for name in _MUST_BE_FALSE:
            # Derived keys may be convergent, and would need a context of their own.
            if key.get(name) is not False:
                raise SetupError(f"the transit key {self._name} must have {name}=false")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _of_answer(answer: object, name: str) -> str:
    data = answer.get("data") if isinstance(answer, dict) else None
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise Unavailable("Vault's answer is not one of its transit engine")
    return value
