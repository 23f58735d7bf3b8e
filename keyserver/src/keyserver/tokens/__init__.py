"""Access tokens and grants: JWTs of the built-in issuer."""

from keyserver.tokens.builtin import BuiltinIssuer, TokenRefused
from keyserver.tokens.claims import AccessClaims, GrantClaims

__all__ = ["AccessClaims", "BuiltinIssuer", "GrantClaims", "TokenRefused"]
