"""Access tokens and grants: JWTs of the built-in issuer, and access tokens of configured ones."""

from keyserver.tokens.builtin import BuiltinIssuer
from keyserver.tokens.claims import AccessClaims, GrantClaims
from keyserver.tokens.refusal import Refusal, TokenRefused
from keyserver.tokens.verifier import AccessVerifier

__all__ = ["AccessClaims", "AccessVerifier", "BuiltinIssuer", "GrantClaims", "Refusal", "TokenRefused"]
