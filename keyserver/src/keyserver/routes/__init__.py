"""HTTP to service and back; nothing is decided here."""

from keyserver.routes import audit, grants, keys, policy

ROUTERS = (keys.router, grants.router, policy.router, audit.router)

__all__ = ["ROUTERS"]
