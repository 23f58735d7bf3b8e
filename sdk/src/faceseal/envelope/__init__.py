"""Sealed-file bytes: the header, the capsule, and the PNG that carries them.

The byte-exact description is docs/envelope.md; tests/vectors/envelope.json pins header and capsule.
"""
