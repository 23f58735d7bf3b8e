"""HTTP to service and back; nothing is decided here."""

from keyserver.routes import audit, grants, keys

ROUTERS = (keys.router, grants.router, audit.router)

__all__ = ["ROUTERS"]
