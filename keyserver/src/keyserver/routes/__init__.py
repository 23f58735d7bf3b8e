"""HTTP to service and back; nothing is decided here."""

from keyserver.routes import audit, grants, health, key_batches, keys, policy

ROUTERS = (key_batches.router, keys.router, grants.router, policy.router, audit.router, health.router)

__all__ = ["ROUTERS"]
