"""The least that this stack can do: one route, one committed INSERT.  Run as: python floor.py DATABASE_URL"""

from __future__ import annotations

import sys
from uuid import uuid4

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import text

from keyserver import serving
from keyserver.store.database import Database


class Row(BaseModel):
    """As long as what a release asks."""

    grant: str
    recipient: str


def main(url: str) -> None:
    database, app = Database(url), FastAPI()

    @app.post("/insert")
    def insert(row: Row) -> dict[str, str]:
        with database.writing() as session:
            values = {"id": str(uuid4()), "value": row.recipient}
            session.execute(text("INSERT INTO floor (id, value) VALUES (:id, :value)"), values)
        return values

    with serving.bind("127.0.0.1", 0) as listening:
        line = f"listens on http://127.0.0.1:{listening.getsockname()[1]}"
        serving.run(app, listening, lambda: print(line, flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
