"""What is imported, and what is shipped."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "keyserver" / "src" / "keyserver"


def modules() -> list[str]:
    paths = (path.relative_to(SOURCE.parent).with_suffix("") for path in sorted(SOURCE.rglob("*.py")))
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    return [name for name in names if name != "keyserver.__main__"]


def loaded_by(*imports: str) -> set[str]:
    """Top-level packages in a fresh interpreter after these imports."""
    program = f"import sys\nimport {', '.join(imports)}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_whole_server_runs_without_the_generators_libraries() -> None:
    loaded = loaded_by(*modules())
    assert {"fastapi", "sqlalchemy", "faceseal"} <= loaded
    assert not loaded & {"torch", "numpy", "diffusers", "scipy", "onnxruntime", "PIL"}


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("keyserver.policy", {"fastapi", "starlette", "sqlalchemy", "jwt"}),
        ("keyserver.tokens", {"fastapi", "starlette", "sqlalchemy"}),
        ("keyserver.keywrap", {"fastapi", "starlette", "sqlalchemy", "jwt"}),
        ("keyserver.service.release", {"fastapi", "starlette"}),
        ("keyserver.cli", {"fastapi", "starlette", "uvicorn"}),
    ],
)
def test_a_room_loads_no_stranger(room: str, strangers: set[str]) -> None:
    assert not loaded_by(room) & strangers


def test_routes_name_neither_the_store_nor_sqlalchemy() -> None:
    for path in (SOURCE / "routes").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            assert not any(name.startswith(("sqlalchemy", "keyserver.store")) for name in names), path


def test_the_wheel_brings_its_migrations_and_works_from_elsewhere(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT / "keyserver")).build(directory=str(tmp_path), versions=["standard"])
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    assert (tmp_path / "installed" / "keyserver" / "migrations" / "versions").is_dir()
    program = (
        "import sys; sys.path.insert(0, 'installed')\n"
        "import keyserver.cli\n"
        "assert 'installed' in keyserver.cli.__file__\n"
        "sys.exit(keyserver.cli.main(['init', '--data', 'data']))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "data" / "root.key").exists()


def test_a_wheel_built_from_the_sdist_brings_its_migrations_too(tmp_path: Path) -> None:
    (sdist,) = SdistBuilder(str(ROOT / "keyserver")).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (wheel,) = WheelBuilder(str(unpacked)).build(directory=str(tmp_path), versions=["standard"])
    assert "keyserver/migrations/env.py" in zipfile.ZipFile(wheel).namelist()
