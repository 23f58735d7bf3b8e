"""AES-GCM as keys are wrapped with it, against NIST's values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keyserver.errors import WrapBroken
from keyserver.keywrap.aead import open_sealed, seal

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "nist-gcm-kwp.json").read_text())


@pytest.mark.parametrize("case", VECTORS["gcm"], ids=lambda case: f"{len(case['aad']) // 2} bytes of context")
def test_wrapping_is_nists_aes_gcm(case: dict[str, str]) -> None:
    key, nonce, plaintext, aad, ciphertext, tag = (
        bytes.fromhex(case[name]) for name in ("key", "nonce", "plaintext", "aad", "ciphertext", "tag")
    )
    assert seal(key, plaintext, aad, nonce) == nonce + ciphertext + tag
    assert open_sealed(key, nonce + ciphertext + tag, aad) == plaintext


@pytest.mark.parametrize("case", VECTORS["gcm_refused"], ids=lambda case: case["tag"][:8])
def test_what_nist_says_must_not_open_does_not(case: dict[str, str]) -> None:
    key, nonce, aad, ciphertext, tag = (
        bytes.fromhex(case[name]) for name in ("key", "nonce", "aad", "ciphertext", "tag")
    )
    with pytest.raises(WrapBroken):
        open_sealed(key, nonce + ciphertext + tag, aad)
