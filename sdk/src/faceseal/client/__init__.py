"""Where image keys come from: a key server over HTTP, or an encrypted file."""

from faceseal.client.dpop import DpopKey
from faceseal.client.keyring import LocalKeyring
from faceseal.client.server import KeyServer

__all__ = ["DpopKey", "KeyServer", "LocalKeyring"]
