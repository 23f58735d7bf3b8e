"""The witness over HTTP: one route, bounded like the key server's."""

from __future__ import annotations

import asyncio
import logging

from fastapi import FastAPI, Request, Response

from faceseal.errors import TransparencyError
from keyserver.body_limit import BodyLimit
from keyserver.middleware.admission import Admission, Admitted
from keyserver.middleware.framed import Framed
from keyserver.witness.cosigning import PLAIN, Answer, Witness
from keyserver.witness.submission import MOST_BYTES

REQUESTS_AT_ONCE = 64
REQUEST_SECONDS = 10.0
_log = logging.getLogger(__name__)


def create_witness_app(witness: Witness) -> FastAPI:
    """`POST /add-checkpoint`, and `GET /healthz` for whoever watches it."""
    app = FastAPI(title="witness", openapi_url=None, redirect_slashes=False)
    app.state.admission = Admission(REQUESTS_AT_ONCE, REQUEST_SECONDS)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        body = await request.body()
        return _response(await asyncio.to_thread(_answered, witness, body))

    @app.get("/healthz")
    async def health() -> Response:
        return _response(Answer(200, "ok\n"))

    app.add_middleware(BodyLimit, limit=MOST_BYTES)
    app.add_middleware(Admitted, admission=app.state.admission)
    app.add_middleware(Framed)
    return app


def _answered(witness: Witness, body: bytes) -> Answer:
    try:
        return witness.add_checkpoint(body)
    except (OSError, UnicodeDecodeError, TransparencyError) as cause:
        _log.error("nothing is cosigned: the folder cannot be read or written (%s)", type(cause).__name__)
        return Answer(503, "nothing could be written\n", PLAIN)


def _response(answer: Answer) -> Response:
    # As a header, for of `media_type` the framework makes something longer.
    headers = {"Content-Type": answer.media_type, "Cache-Control": "no-store"}
    return Response(answer.body, answer.status, headers=headers)
