"""Where image keys come from: a key server over HTTP, or an encrypted file."""

from faceseal.client.keyring import LocalKeyring
from faceseal.client.server import KeyServer

__all__ = ["KeyServer", "LocalKeyring"]
