"""Options that the commands of `keyserver` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from keyserver.errors import SetupError
from keyserver.settings import Settings

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder; else KEYSERVER_DATA, else ./keyserver-data.")
]
Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME")]


def read_settings(data: Path | None) -> Settings:
    """The settings of the environment, in this data folder if one is given.  Raises SetupError."""
    try:
        return Settings() if data is None else Settings(data=data)
    except ValidationError as cause:
        wrong = ", ".join(f"KEYSERVER_{each['loc'][0]}".upper() for each in cause.errors() if each["loc"])
        raise SetupError(f"not usable: {wrong}") from None
