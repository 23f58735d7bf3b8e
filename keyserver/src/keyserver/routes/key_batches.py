"""/v1/keys/batch"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request, Response

from faceseal.wire import CreateKeys, KeysCreated
from keyserver.actions import Action
from keyserver.rates import Kind, cost_of_batch
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.routes.limiting import admitted
from keyserver.service import batches

BATCH_PATH = "/v1/keys/batch"

router = authenticated_router(BATCH_PATH, "keys")


async def _counted(request: CreateKeys, asked: Request, caller: WithCaller) -> CreateKeys:
    """Counts what is beyond the one action that every request is; before any transaction begins.  Raises TooMany."""
    more = cost_of_batch(len(request.keys)) - 1
    if more:
        await admitted(asked, caller, Kind.CREATE, more)
    return request


Counted = Annotated[CreateKeys, Depends(_counted)]


@router.post(
    "",
    status_code=201,
    response_model=KeysCreated,
    summary="Create up to 1,000 image keys",
    **documentation(Action.CREATE_KEY, 400, 413, 422),
)
def create_keys(request: Counted, ports: WithPorts, caller: WithCaller) -> Response:
    """Make image keys, all or none, and answer with them, sealed to their recipients."""
    created = batches.create_keys(ports, caller, request)
    # Serialized here: the framework would validate every id once more.
    return Response(created.model_dump_json(), 201, media_type="application/json")


@router.get("", include_in_schema=False)
def no_batch() -> None:
    """Lest the word be taken for a key's id."""
    raise HTTPException(405)
