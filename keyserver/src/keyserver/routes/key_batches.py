"""/v1/keys/batch"""

from __future__ import annotations

from fastapi import HTTPException, Response

from faceseal.wire import CreateKeys, KeysCreated
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import batches

BATCH_PATH = "/v1/keys/batch"

router = authenticated_router(BATCH_PATH, "keys")


@router.post(
    "",
    status_code=201,
    response_model=KeysCreated,
    summary="Create up to 1,000 image keys",
    **documentation(Action.CREATE_KEY, 400, 413, 422),
)
def create_keys(request: CreateKeys, ports: WithPorts, caller: WithCaller) -> Response:
    """Make image keys, all or none, and answer with them, sealed to their recipients."""
    created = batches.create_keys(ports, caller, request)
    # Serialized here: the framework would validate every id once more.
    return Response(created.model_dump_json(), 201, media_type="application/json")


@router.get("", include_in_schema=False)
def no_batch() -> None:
    """Lest the word be taken for a key's id."""
    raise HTTPException(405)
