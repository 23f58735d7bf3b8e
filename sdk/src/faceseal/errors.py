"""One tree of errors: everything that faceseal raises on purpose is a `FacesealError`.

Each message is one line that says what is wrong and what to do; none holds a key, a token
or a grant.
"""

from __future__ import annotations


class FacesealError(Exception):
    """Base of all errors of this package; never raised itself."""


class PhotoError(FacesealError):
    """The photo cannot be worked on: unreadable, of an unsupported kind, too small or too large."""


class NoFaceFound(FacesealError):
    """The photo is fine and shows no face that the detector finds."""


class SealedFileError(FacesealError):
    """Base of what can be wrong with a sealed file; raised itself when the structure is broken."""


class NotSealed(SealedFileError):
    """A readable photo without a faceseal header."""


class HeaderAltered(SealedFileError):
    """The header's authentication code does not fit."""


class PixelsAltered(SealedFileError):
    """The pixels are not the ones that were sealed."""


class CapsuleAltered(SealedFileError):
    """The capsule does not open, or does not hold what it must."""


class WrongKey(FacesealError):
    """The key does not fit the file's key commitment."""


class ModelError(FacesealError):
    """A model file cannot be read."""


class ModelMismatch(ModelError):
    """The file was made with another model than the one at hand."""


class MissingDependency(FacesealError):
    """An optional part of faceseal is needed that is not installed."""


class FidelityTooLow(FacesealError):
    """Restoring from the pixels alone would stay too far from what the model carries of a face."""


class FaceTooAlike(FacesealError):
    """A recognition network takes the anonymized face for the original one, whatever nonce was drawn."""


class KeySourceError(FacesealError):
    """Base of what can go wrong with a keyring or a key server."""


class KeyringError(KeySourceError):
    """The local keyring cannot be read or written, or the passphrase is wrong."""


class ClientKeyError(KeySourceError):
    """The file of the client's own key cannot be read or written, or is open to others."""


class UnknownKey(KeySourceError):
    """The key source has no such key, or does not show it to the asker."""


class ServerUnavailable(KeySourceError):
    """The key server does not answer, or not in time."""


class ServerMisbehaved(KeySourceError):
    """The key server's answer is not one that its protocol allows."""


class AccessDenied(KeySourceError):
    """The key server refuses: the token, the grant or the key does not allow it."""


class RequestRejected(KeySourceError):
    """The key server found the request itself wrong."""


class RequestNotUnderstood(RequestRejected):
    """The key server does not know what the request says, or a value in it; nothing was done."""


class TransparencyError(FacesealError):
    """A checkpoint, receipt or exported audit log does not prove what it claims."""


class AuditFileError(FacesealError):
    """A file or key that something is to be verified with cannot be read."""


class TrainingDataError(FacesealError):
    """The training images cannot be read, or there are too few of them."""
