"""/v1/audit"""

from __future__ import annotations

from faceseal.wire import Checkpoint
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import checkpoint

router = authenticated_router("/v1/audit", "audit")


@router.get("/checkpoint", summary="The audit log's signed checkpoint", **documentation(Action.READ_AUDIT))
def get_checkpoint(ports: WithPorts, caller: WithCaller) -> Checkpoint:
    """Size and root of the log, signed."""
    return checkpoint.current_checkpoint(ports, caller)
