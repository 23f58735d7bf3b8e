"""The product's two verbs; the only place where photos, faces, keys, generator and file meet."""

from faceseal.anonymizer.restoring import check_before_release, receipt_of, restore, restore_with_key, verify
from faceseal.anonymizer.sealed import Restored, Sealed, SealedContent, read_sealed
from faceseal.anonymizer.sealing import anonymize

__all__ = [
    "Restored",
    "Sealed",
    "SealedContent",
    "anonymize",
    "check_before_release",
    "read_sealed",
    "receipt_of",
    "restore",
    "restore_with_key",
    "verify",
]
