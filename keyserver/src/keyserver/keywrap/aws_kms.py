"""A root in AWS KMS: a symmetric key there; the context travels as KMS's encryption context.

Region, credentials and endpoint come from where every AWS program takes them (environment,
profile, role).  The identity needs kms:Encrypt, kms:Decrypt and kms:DescribeKey on the key.
"""

from __future__ import annotations

import base64
import logging

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from keyserver.errors import SetupError, Unavailable, WrapBroken
from keyserver.keywrap.aead import KEY_BYTES

_SETTINGS = Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 2})
_MAX_WRAPPED_BYTES = 6144
"""KMS's own bound for a ciphertext."""
_DOES_NOT_OPEN = {"InvalidCiphertextException", "IncorrectKeyException"}
# Below this level these libraries log requests with their bodies: an Encrypt's holds the KEK.
_QUIET = ("botocore", "boto3")


class AwsKmsRoot:
    """A root whose key never leaves KMS.  Its calls may run at once."""

    def __init__(self, key_id: str) -> None:
        """`key_id` is a key's id or ARN.  Raises SetupError if AWS's own settings lack something."""
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.INFO)
        self._key_id = key_id
        try:
            self._kms = boto3.client("kms", config=_SETTINGS)
        except (BotoCoreError, ValueError) as cause:
            raise SetupError(f"AWS KMS cannot be used as it is set ({type(cause).__name__})") from None

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        try:
            answer = self._kms.encrypt(KeyId=self._key_id, Plaintext=kek, EncryptionContext=_shown(context))
        except (ClientError, BotoCoreError) as cause:
            raise Unavailable(f"KMS did not wrap ({_name(cause)})") from None
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        if not 0 < len(wrapped) <= _MAX_WRAPPED_BYTES:
            raise WrapBroken("a wrapped key has the wrong length")
        try:
            # With the key named, KMS refuses what was wrapped by any other that this identity may use.
            answer = self._kms.decrypt(KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=_shown(context))
        except (ClientError, BotoCoreError) as cause:
            if _name(cause) in _DOES_NOT_OPEN:
                raise WrapBroken("a wrapped key does not open") from None
            raise Unavailable(f"KMS did not unwrap ({_name(cause)})") from None
        kek = bytes(answer["Plaintext"])
        if len(kek) != KEY_BYTES:
            raise WrapBroken("a wrapped key has the wrong length")
        return kek

    def check(self) -> None:
        """See `RemoteRoot`.  Raises Unavailable if KMS is not reached."""
        try:
            key = self._kms.describe_key(KeyId=self._key_id)["KeyMetadata"]
        except ClientError as cause:
            raise SetupError(f"KMS does not show the key {self._key_id} ({_name(cause)})") from None
        except BotoCoreError as cause:
            raise Unavailable(f"KMS was not reached ({_name(cause)})") from None
        # Keys of this kind have no other use than encryption.
        if (key.get("KeyState"), key.get("KeySpec")) != ("Enabled", "SYMMETRIC_DEFAULT"):
            raise SetupError(f"the KMS key {self._key_id} is not an enabled symmetric key for encryption")


def _shown(context: bytes) -> dict[str, str]:
    # KMS logs it in the clear: tenant and epoch, which are no secrets.
    return {"faceseal-keyserver": base64.urlsafe_b64encode(context).decode("ascii")}


def _name(cause: ClientError | BotoCoreError) -> str:
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else type(cause).__name__
