"""What the documents say about settings, commands, metrics, files and each other is so."""

import re
import shlex
from pathlib import Path
from uuid import UUID

import pytest
from typer import main as typer_main
from typer.exceptions import TyperException

from faceseal.cli import app as faceseal_app
from keyserver.cli import app as keyserver_app
from keyserver.metrics import REGISTRY, InstallationCollector
from keyserver.service import logcheck
from keyserver.settings import Settings
from keyserver.shown_settings import shown
from keyserver.store.database import Database

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sdk").rglob("*.md")]
OPERATING = [ROOT / "docs" / "operating.md", *sorted((ROOT / "docs" / "operating").glob("*.md"))]
PROGRAMS = {"keyserver": typer_main.get_command(keyserver_app), "faceseal": typer_main.get_command(faceseal_app)}
PLACEHOLDERS = {"ID": str(UUID(int=0)), "GRANT": str(UUID(int=0)), "KEY": str(UUID(int=0)), "FILE": "file"}


def in_operating():
    return "\n".join(page.read_text() for page in OPERATING)


def test_the_table_of_settings_has_each_with_its_default_and_no_other():
    page = (ROOT / "docs" / "operating" / "settings.md").read_text()
    rows = re.findall(r"^\| `KEYSERVER_([A-Z0-9_]+)` \| `([^`]*)` \| \S", page, re.MULTILINE)
    declared = {
        name.upper(): shown(name, field.get_default(call_default_factory=True))
        for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == declared
    assert len(rows) == len(declared)


@pytest.mark.parametrize("page", [*PAGES, *(ROOT / "docker").iterdir()], ids=lambda page: page.name)
def test_every_setting_that_is_named_anywhere_is_one(page):
    named = re.findall(r"\bKEYSERVER_([A-Z0-9_]+[A-Z0-9])", page.read_text())
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def commands_in_blocks():
    for page in [ROOT / "README.md", *OPERATING]:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                line = line.split("#")[0].split(" > ")[0].strip()
                if line.startswith(("keyserver ", "faceseal ")):
                    yield line


def commands_in_lines():
    for page in OPERATING:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for code in re.findall(r"`((?:keyserver|faceseal) [a-z][^`]*)`", text):
            yield code.split(" > ")[0]


def resolved(line):
    """The command that a line names, and the words behind its name."""
    program, *words = (PLACEHOLDERS.get(word, word) for word in shlex.split(line))
    command = PROGRAMS[program]
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize("line", sorted(set(commands_in_blocks())))
def test_every_command_in_a_block_can_be_given_like_that(line):
    command, words = resolved(line)
    if words == ["--help"]:
        return
    try:
        command.make_context("it", words)
    except TyperException as mistake:
        pytest.fail(f"{line}: {mistake.format_message()}")


@pytest.mark.parametrize("line", sorted(set(commands_in_lines())))
def test_every_command_that_the_operators_guide_names_is_there_with_its_options(line):
    command, words = resolved(line)
    assert not hasattr(command, "commands"), line
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_metric_is_in_the_table_and_no_other_is_named_anywhere(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'without.sqlite3'}")
    sizes = {metric.name for metric in InstallationCollector(database).collect()}
    database.close()
    known = {metric.name for metric in REGISTRY.collect()} | sizes | {"keyserver_audit_entries"}
    page = (ROOT / "docs" / "operating" / "monitoring.md").read_text()
    named = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"\bkeyserver_[a-z_]+[a-z]", page)}
    assert named == known


def test_what_a_server_says_that_does_not_start_is_what_the_guide_explains():
    source = Path(logcheck.__file__).read_text()
    page = (ROOT / "docs" / "operating" / "incidents.md").read_text()
    section = page.split("## The log is behind its checkpoint")[1].split("\n## ")[0]
    said = [
        word for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE) for word in re.findall(r"`([^`]+)`", row)
    ]
    assert len(said) >= 5
    for words in said:
        assert all(part in source for part in words.split(" ... ")), words


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_to_a_heading_of_it(page):
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        leads_to = (page.parent / target) if target else page
        assert leads_to.exists(), target
        if anchor:
            assert anchor in anchors(leads_to), f"{target}#{anchor}"


def test_every_page_of_the_operators_guide_is_linked_from_its_first():
    first = OPERATING[0].read_text()
    assert all(f"(operating/{page.name})" in first for page in OPERATING[1:])


def test_every_file_that_the_threat_model_names_exists():
    page = (ROOT / "docs" / "threat-model.md").read_text()
    named = re.findall(r"`((?:sdk|keyserver|migrations|docs|tests|docker)/[^`]*)`", page)
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []
