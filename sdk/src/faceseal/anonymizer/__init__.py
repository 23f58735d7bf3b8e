"""The product's two verbs; the only place where photos, faces, keys, generator and file meet."""

from faceseal.anonymizer.sealed import Restored, Sealed, SealedContent, read_sealed
from faceseal.anonymizer.verbs import anonymize, restore, restore_with_key, verify

__all__ = ["Restored", "Sealed", "SealedContent", "anonymize", "read_sealed", "restore", "restore_with_key", "verify"]
