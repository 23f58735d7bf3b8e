"""HTTP to service and back; nothing is decided here."""

from keyserver.routes import audit, grants, health, keys

ROUTERS = (keys.router, grants.router, audit.router, health.router)

__all__ = ["ROUTERS"]
