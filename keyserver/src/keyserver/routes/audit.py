"""/v1/audit"""

from __future__ import annotations

from faceseal.wire import Checkpoint
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import checkpoint

router = authenticated_router("/v1/audit", "audit")


@router.get("/checkpoint", summary="The audit log's signed checkpoint", **documentation(Action.READ_AUDIT, 404, 422))
def get_checkpoint(ports: WithPorts, caller: WithCaller, witnessed: bool = False) -> Checkpoint:
    """Size and root of the log, signed by the log, and by the witnesses that have cosigned this very checkpoint.

    With `witnessed`, the newest checkpoint that enough witnesses have cosigned, which is some seconds old; 404 if
    there is none.
    """
    return checkpoint.shown_checkpoint(ports, caller, witnessed)
