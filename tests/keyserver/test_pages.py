"""Cursors: only this server makes them, and only for the question that was asked."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceseal.wire import decode_base64url, encode_base64url
from keyserver.errors import RequestInvalid
from keyserver.service.pages import Cursors, Place

CURSORS = Cursors(bytes(32))
PLACE = Place(1_800_000_000, UUID(int=7))
QUESTION = ("keys", "default", "{}")
PLACES = st.builds(Place, st.integers(0, 2**40), st.uuids())


@given(PLACES, st.lists(st.text(max_size=20), max_size=4))
def test_a_cursor_leads_back_to_its_place_for_the_same_question(place: Place, question: list[str]) -> None:
    assert CURSORS.decode(CURSORS.encode(place, question), question) == place
    assert Cursors(bytes(32)).decode(CURSORS.encode(place, question), tuple(question)) == place


@pytest.mark.parametrize(
    "question",
    [
        ("keys", "other", "{}"),
        ("grants", "default", "{}"),
        ("keys", "default", '{"label":["a:b"]}'),
        ("keys", "default"),
        ("keysdefault", "", "{}"),
        ("keys", "default{", "}"),
        (),
    ],
)
def test_a_cursor_is_of_no_use_for_another_question(question: tuple[str, ...]) -> None:
    with pytest.raises(RequestInvalid, match="not made for this list"):
        CURSORS.decode(CURSORS.encode(PLACE, QUESTION), question)


@given(st.integers(0, 55), st.integers(1, 255))
def test_a_cursor_with_any_byte_changed_is_refused(position: int, change: int) -> None:
    content = bytearray(decode_base64url(CURSORS.encode(PLACE, QUESTION)))
    content[position] ^= change
    with pytest.raises(RequestInvalid):
        CURSORS.decode(encode_base64url(bytes(content)), QUESTION)


@pytest.mark.parametrize("cursor", ["", "A", "AAAA", "A" * 75, "A" * 74, "A" * 1000, "!", "=" * 75, "é" * 75])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(RequestInvalid):
        CURSORS.decode(cursor, QUESTION)


def test_a_cursor_of_another_installation_is_refused() -> None:
    with pytest.raises(RequestInvalid):
        Cursors(bytes(31) + b"\1").decode(CURSORS.encode(PLACE, QUESTION), QUESTION)


def test_the_secret_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Cursors(bytes(16))
