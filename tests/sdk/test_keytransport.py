from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from faceseal.errors import ServerMisbehaved
from faceseal.keytransport import creation_info, open_key, release_info, seal_key

RECIPIENT = X25519PrivateKey.from_private_bytes(bytes([5]) * 32)
PUBLIC = RECIPIENT.public_key().public_bytes_raw()
SECRET = bytes(range(32))
KEY = UUID(int=1)
GRANT = UUID(int=2)

# From the test vectors that accompany RFC 9180 (mode base, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
# AES-256-GCM): inputs, the key schedule's results, and the first encryption.
VECTOR_INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
VECTOR_RECIPIENT = bytes.fromhex("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d")
VECTOR_ENCAPSULATED = bytes.fromhex("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256")
VECTOR_KEY = bytes.fromhex("f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f")
VECTOR_NONCE = bytes.fromhex("151d9929e2449747889bc923")
VECTOR_PLAINTEXT = b"Beauty is truth, truth beauty"
VECTOR_CIPHERTEXT = bytes.fromhex(
    "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"
)


def test_keys_open_under_the_key_schedule_of_rfc_9180s_vector():
    schedule = AESGCM(VECTOR_KEY)
    # The vector's own ciphertext has associated data, which image keys do not have; it shows that the
    # key and nonce above are the vector's.
    assert schedule.encrypt(VECTOR_NONCE, VECTOR_PLAINTEXT, b"Count-0") == VECTOR_CIPHERTEXT
    sealed = VECTOR_ENCAPSULATED + schedule.encrypt(VECTOR_NONCE, SECRET, b"")
    recipient = X25519PrivateKey.from_private_bytes(VECTOR_RECIPIENT)
    assert open_key(sealed, recipient, VECTOR_INFO) == SECRET


@given(secret=st.binary(min_size=32, max_size=32), recipient=st.binary(min_size=32, max_size=32), info=st.binary())
def test_what_is_sealed_opens_for_its_recipient_and_use(secret, recipient, info):
    private = X25519PrivateKey.from_private_bytes(recipient)
    sealed = seal_key(secret, private.public_key().public_bytes_raw(), info)
    assert len(sealed) == 80
    assert open_key(sealed, private, info) == secret


def test_sealing_twice_gives_different_ciphertexts():
    assert seal_key(SECRET, PUBLIC, b"") != seal_key(SECRET, PUBLIC, b"")


def test_every_flipped_bit_of_the_ciphertext_is_noticed():
    info = release_info(KEY, GRANT)
    sealed = seal_key(SECRET, PUBLIC, info)
    # X25519 ignores the highest bit of a point's last byte (RFC 7748, section 5), but HPKE hashes it.
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ServerMisbehaved):
            open_key(bytes(flipped), RECIPIENT, info)


@pytest.mark.parametrize(
    "info",
    [creation_info(KEY), release_info(GRANT, KEY), release_info(KEY, KEY), release_info(KEY, GRANT) + b"\x00", b""],
)
def test_a_key_sealed_for_one_use_does_not_open_for_another(info):
    sealed = seal_key(SECRET, PUBLIC, release_info(KEY, GRANT))
    with pytest.raises(ServerMisbehaved):
        open_key(sealed, RECIPIENT, info)


def test_nobody_but_the_recipient_opens_a_key():
    with pytest.raises(ServerMisbehaved):
        open_key(seal_key(SECRET, PUBLIC, b""), X25519PrivateKey.generate(), b"")


@pytest.mark.parametrize("sealed", [b"", bytes(31), bytes(32), bytes(47), bytes(80), bytes(81), b"\xff" * 80])
def test_what_is_no_ciphertext_at_all_is_refused(sealed):
    with pytest.raises(ServerMisbehaved, match="does not open"):
        open_key(sealed, RECIPIENT, b"")


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused_although_it_opens(length):
    with pytest.raises(ServerMisbehaved, match="wrong length"):
        open_key(seal_key(bytes(length), PUBLIC, b""), RECIPIENT, b"")


@pytest.mark.parametrize("recipient", [b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31)])
def test_a_recipient_that_is_no_usable_point_is_refused(recipient):
    # The last two are points of small order: every exchange with them gives zero (RFC 7748, section 6.1).
    with pytest.raises(ValueError, match=r".+"):
        seal_key(SECRET, recipient, b"")
