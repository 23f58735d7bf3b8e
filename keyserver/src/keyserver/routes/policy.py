"""/v1/policy"""

from __future__ import annotations

from faceseal.wire import PolicyInfo
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import policies

router = authenticated_router("/v1/policy", "policy")


@router.get("", summary="Show the tenant's policy", **documentation(Action.READ_POLICY))
def get_policy(ports: WithPorts, caller: WithCaller) -> PolicyInfo:
    """What grants that are requested now have to keep to.  The operator sets it on the server's own machine."""
    return policies.get_policy(ports, caller)
