"""Rules that import contracts cannot see."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "diffusers", "onnxruntime", "numpy", "PIL", "httpx"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_faceseal_loads_nothing_heavy():
    assert not loaded_by("import faceseal") & HEAVY


@pytest.mark.parametrize(
    "statement",
    [
        "from faceseal import KeyServer, LocalKeyring",
        "import faceseal.client, faceseal.envelope.png, faceseal.wire, faceseal.translog",
        "import faceseal.cli",
        "from faceseal import anonymize, restore",
    ],
)
def test_what_needs_no_generator_loads_no_torch(statement):
    assert not loaded_by(statement) & {"torch", "diffusers", "onnxruntime"}


def test_every_public_name_of_the_sdk_can_be_imported():
    import faceseal

    for name in faceseal.__all__:
        assert getattr(faceseal, name) is not None
    with pytest.raises(AttributeError):
        faceseal.no_such_name  # noqa: B018


def test_both_distributions_have_the_same_version():
    versions = {
        tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]["version"]
        for part in ("sdk", "keyserver")
    }
    assert len(versions) == 1


def test_every_file_that_the_architecture_page_names_exists():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:sdk|keyserver|migrations|docs|tests|docker)/[^`]*)`", page)
    assert len(named) > 20
    missing = [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_every_link_between_pages_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sdk").rglob("*.md")]
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_packaged_weights_are_at_most_20_megabytes():
    weights = list((ROOT / "sdk").rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 20_000_000
    assert all((path.parent / "MODEL_CARD.md").exists() for path in weights)
