"""What docs/audit.md says of the log's formats is so."""

import base64
import json
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from made_log import KEY, leaf, made_log, written

from faceseal.translog import canonical_object
from faceseal.translog.exportformat import MAX_LINE_BYTES
from faceseal.translog.notes import MAX_NOTE

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()


@pytest.fixture(scope="module")
def verify():
    """The program that the page shows."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)  # noqa: S102 - our own page
    return names["verify"]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_the_program_on_the_page_verifies_exports_of_both_versions(verify, tmp_path, size):
    made = made_log(size)
    for lines in (made.export(), made.plain_export()):
        assert verify(written(tmp_path / "log.jsonl", lines), str(KEY)) == size


def test_the_program_on_the_page_verifies_parts_that_are_put_together(verify, tmp_path):
    made = made_log(600)
    parts = [made.export(size=100), made.export(first=100, size=300), made.export(first=300)]
    whole = [parts[-1][0], *(line for part in parts for line in part[1:])]
    assert verify(written(tmp_path / "whole.jsonl", whole), str(KEY)) == 600


def test_the_program_on_the_page_refuses_what_was_altered(verify, tmp_path):
    made = made_log(300)
    lines = made.export()
    lines[9] = lines[9].replace(b"anna", b"otto")
    with pytest.raises(AssertionError, match="not what was signed"):
        verify(written(tmp_path / "log.jsonl", lines), str(KEY))
    with pytest.raises(AssertionError, match="not what was signed"):
        verify(written(tmp_path / "log.jsonl", made.export()[:-1]), str(KEY))
    lines = made.export()
    lines[0] = lines[0].replace(b"log.example\\n300", b"log.example\\n301", 1)
    with pytest.raises(InvalidSignature):
        verify(written(tmp_path / "log.jsonl", lines), str(KEY))


def test_the_members_and_bounds_on_the_page_are_those_of_the_files():
    head, tile, *_ = made_log(3).export()
    cells = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert {*json.loads(head), *json.loads(tile), *json.loads(leaf(0))} <= named
    assert head.startswith(b'{"checkpoint":')
    assert tile.startswith(b'{"hashes":')
    assert f"{MAX_LINE_BYTES:,} bytes" in PAGE
    assert f"{MAX_NOTE:,} characters" in PAGE
    assert len(base64.b64decode(json.loads(head)["edge"])) == 2 * 32


def test_the_entry_on_the_page_is_canonical():
    (shown,) = re.findall(r"^\{\"actor\".*$", PAGE, re.MULTILINE)
    assert canonical_object(shown.encode())["event"] == "release.allowed"
