"""Puts the repository's migrations into what is built: package data in a wheel, a folder in an sdist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Migrations(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before it builds; an editable install finds the migrations in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See BuildHookInterface."""
        if version == "editable":
            return
        unpacked_sdist = Path(self.root) / "migrations"
        source = unpacked_sdist if unpacked_sdist.is_dir() else Path(self.root).parent / "migrations"
        build_data["force_include"][str(source)] = (
            "keyserver/migrations" if self.target_name == "wheel" else "migrations"
        )
