"""The quick check of canonical JSON against the slow one."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from faceseal.translog import canonical_object

text = st.text(max_size=12)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(text, values, max_size=6))
def test_what_rfc_8785_writes_is_accepted_and_nothing_beside_it(value):
    line = rfc8785.dumps(value)
    assert canonical_object(line) == value
    for other in (line + b" ", b" " + line, b"{ " + line[1:], line[:-1] + b"\n}", b"[" + line + b"]", line[:-1]):
        with pytest.raises(ValueError, match="canonical"):
            canonical_object(other)


@given(st.binary(max_size=30) | text.map(str.encode))
def test_what_is_accepted_is_what_rfc_8785_writes(data):
    try:
        value = canonical_object(b'{"a":' + data + b"}")
    except ValueError:
        return
    assert rfc8785.dumps(value) == b'{"a":' + data + b"}"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a":1.5}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\u0061"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":"\x01"}',
        b'{"a":' * 5000,
        b"[" * 50_000,
        b'\xef\xbb\xbf{"a":1}',
        '{"\U0001f600":1,"\ue000":2}'.replace("\U0001f600", "\ue000", 1).replace(":2", ":3").encode(),
        '{"\ue000":2,"\U0001f600":1}'.encode(),
    ],
    ids=lambda line: line[:24].decode("latin-1"),
)
def test_everything_else_is_refused(line):
    with pytest.raises(ValueError, match="not canonical JSON"):
        canonical_object(line)


def test_names_are_sorted_by_utf_16_units_and_not_by_code_points():
    line = '{"\U0001f600":1,"\ue000":2}'.encode()
    assert rfc8785.dumps(canonical_object(line)) == line
