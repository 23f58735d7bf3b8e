"""Choosing the root that the settings name, and opening it fit for use."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic import ValidationError

from keyserver.errors import SetupError
from keyserver.keywrap import CachedRoot, FileRoot, RemoteRoot, Root, RootKind, TimeLimited
from keyserver.secretfile import read_password
from keyserver.settings import Settings

_Value = TypeVar("_Value", str, Path)
_PREFIX = "KEYSERVER_"
_FIELDS = {"root", "root_file", "aws_kms_key", "root_seconds", "kek_cache_seconds"} | {
    name for name in Settings.model_fields if name.startswith(("pkcs11_", "vault_"))
}
_CALLS_AT_ONCE = {RootKind.PKCS11: 1, RootKind.AWS_KMS: 8, RootKind.VAULT_TRANSIT: 8}
"""A PKCS#11 module has one login a process, which sessions that overlap would take from each other."""


def open_root(settings: Settings) -> Root:
    """The root, checked.  A file is read once; a remote root is bounded in time, and what it opens is remembered.

    Raises SetupError if a setting or a library is missing, or the root is not fit; Unavailable
    if it does not answer.
    """
    if settings.root is RootKind.FILE:
        return FileRoot.read(settings.root_key_file, os.urandom)
    try:
        remote = _remote(settings)
    except ImportError:
        kind = settings.root.value
        raise SetupError(f"the root {kind} needs a library: pip install 'faceseal-keyserver[{kind}]'") from None
    limited = TimeLimited(remote, settings.root_seconds, _CALLS_AT_ONCE[settings.root])
    limited.check()
    return CachedRoot(limited, time.monotonic, settings.kek_cache_seconds)


def settings_of_root(settings: Settings, path: Path) -> Settings:
    """These settings with another root: the file's lines are what the environment will hold (NAME=value).

    What the file does not name stays.  Raises SetupError.
    """
    try:
        lines = dotenv_values(path, interpolate=False) if path.is_file() else None
    except (OSError, UnicodeDecodeError):
        lines = None
    if lines is None:
        raise SetupError(f"cannot read {path}")
    given = {name.removeprefix(_PREFIX).lower(): value for name, value in lines.items()}
    if not given.keys() <= _FIELDS or not all(name == name.upper() and name.startswith(_PREFIX) for name in lines):
        raise SetupError(f"{path} may hold settings of a root only: KEYSERVER_ROOT, KEYSERVER_VAULT_URL, and so on")
    try:
        chosen = Settings(**given)  # type: ignore[arg-type]  # parsed and refused as from the environment
    except ValidationError as cause:
        wrong = ", ".join(f"{_PREFIX}{each['loc'][0]}".upper() for each in cause.errors() if each["loc"])
        raise SetupError(f"not usable in {path}: {wrong}") from None
    return settings.model_copy(update={name: getattr(chosen, name) for name in given})


def _remote(settings: Settings) -> RemoteRoot:
    # Imported here: each needs a library that only its users install.
    if settings.root is RootKind.PKCS11:
        from keyserver.keywrap.pkcs11_token import Pkcs11Root, WrapMechanism

        return Pkcs11Root(
            _required(settings.pkcs11_module, "PKCS11_MODULE"),
            _required(settings.pkcs11_token, "PKCS11_TOKEN"),
            settings.pkcs11_key,
            read_password(_required(settings.pkcs11_pin_file, "PKCS11_PIN_FILE")),
            WrapMechanism(settings.pkcs11_mechanism),
            os.urandom,
        )
    if settings.root is RootKind.AWS_KMS:
        from keyserver.keywrap.aws_kms import AwsKmsRoot

        return AwsKmsRoot(_required(settings.aws_kms_key, "AWS_KMS_KEY"))
    from keyserver.keywrap.vault_transit import VaultTransitRoot

    return VaultTransitRoot(
        _required(settings.vault_url, "VAULT_URL"),
        read_password(_required(settings.vault_token_file, "VAULT_TOKEN_FILE")),
        settings.vault_mount,
        settings.vault_key,
    )


def _required(value: _Value | None, name: str) -> _Value:
    if not value:
        raise SetupError(f"this kind of root needs the setting {_PREFIX}{name}")
    return value
