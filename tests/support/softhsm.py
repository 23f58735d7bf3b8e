"""Finding SoftHSM, a PKCS#11 token in software (Debian's softhsm2), and making tokens with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PIN = "247613"


def softhsm_driver() -> Path | None:
    """The driver, if both it and the program that makes tokens are installed."""
    if shutil.which("softhsm2-util") is None:
        return None
    folders = [Path("/usr/lib/softhsm"), *Path("/usr/lib").glob("*/softhsm"), Path("/usr/local/lib/softhsm")]
    return next((folder / "libsofthsm2.so" for folder in folders if (folder / "libsofthsm2.so").exists()), None)


def make_token(label: str) -> None:
    """A new token in the folder that SOFTHSM2_CONF names."""
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "99" + PIN]
    subprocess.run(command, check=True, capture_output=True)
