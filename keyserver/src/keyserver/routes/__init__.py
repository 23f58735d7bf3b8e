"""HTTP to service and back; nothing is decided here."""

from keyserver.routes import audit, grants, key_batches, keys, policy

ROUTERS = (key_batches.router, keys.router, grants.router, policy.router, audit.router)

__all__ = ["ROUTERS"]
