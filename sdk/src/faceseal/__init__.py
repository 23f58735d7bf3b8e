"""faceseal: replaces faces in photos by natural, different ones, reversibly.

    import faceseal

    sealed = faceseal.anonymize("group.jpg", keys=faceseal.KeyServer(url, token=token))
    sealed.save("group.sealed.png")
    restored = faceseal.restore("group.sealed.png", keys=server, grant=grant)

Importing this package is light: the generator and the detector are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceseal.anonymizer import Restored, Sealed, anonymize, restore
    from faceseal.client import KeyServer, LocalKeyring
    from faceseal.errors import FacesealError
    from faceseal.photo import Photo
    from faceseal.profiles import BEST, DEFAULT, FAST, Profile

__all__ = [
    "BEST",
    "DEFAULT",
    "FAST",
    "FacesealError",
    "KeyServer",
    "LocalKeyring",
    "Photo",
    "Profile",
    "Restored",
    "Sealed",
    "anonymize",
    "restore",
]

_HOMES = {
    "faceseal.anonymizer": ("Restored", "Sealed", "anonymize", "restore"),
    "faceseal.client": ("KeyServer", "LocalKeyring"),
    "faceseal.errors": ("FacesealError",),
    "faceseal.photo": ("Photo",),
    "faceseal.profiles": ("BEST", "DEFAULT", "FAST", "Profile"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'faceseal' has no attribute {name!r}")
