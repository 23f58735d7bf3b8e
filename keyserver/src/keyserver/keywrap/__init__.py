"""Keys at rest: the root wraps KEKs, a KEK wraps image keys.

Rules:
1. image keys are wrapped with AES-256-GCM: ``nonce (12) || ciphertext (32) || tag (16)``, the
   nonce fresh from the operating system; a KEK wraps far fewer than 2**32 keys, the bound for
   random nonces (NIST SP 800-38D, section 8.3);
2. a wrapped image key is bound to tenant, key id and suite, and *not* to the KEK's epoch:
   after a rotation the same binding must still hold;
3. a wrapped KEK is bound to tenant and epoch, whatever the root, which also wraps webhooks'
   secrets, bound to tenant and webhook, and the key of the audit log's reader, bound to the log;
4. what does not open says only that it does not open.

There is a file for each kind of root; those that need a library of their own are imported
only when they are chosen.  Python cannot promise to wipe key bytes from memory; they live as
short as the code allows.
"""

from keyserver.keywrap.aead import KEY_BYTES
from keyserver.keywrap.cache import CachedRoot
from keyserver.keywrap.deadline import TimeLimited
from keyserver.keywrap.file import FileRoot
from keyserver.keywrap.kek import (
    SUITE,
    Kek,
    kek_context,
    move_kek,
    open_kek,
    reader_context,
    webhook_context,
    wrap_image_key,
    wrap_new_kek,
)
from keyserver.keywrap.root import Random, RemoteRoot, Root, RootKind

__all__ = [
    "KEY_BYTES",
    "SUITE",
    "CachedRoot",
    "FileRoot",
    "Kek",
    "Random",
    "RemoteRoot",
    "Root",
    "RootKind",
    "TimeLimited",
    "kek_context",
    "move_kek",
    "open_kek",
    "reader_context",
    "webhook_context",
    "wrap_image_key",
    "wrap_new_kek",
]
