"""Version 7 identifiers."""

from __future__ import annotations

from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyserver.ids import RANDOM_BYTES, uuid7

TIMES = st.integers(0, (1 << 48) - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def test_the_vector_of_rfc_9562_appendix_a6() -> None:
    random = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(RANDOM_BYTES)
    assert str(uuid7(0x017F22E279B0, random)) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(TIMES, RANDOM)
def test_version_variant_and_time_are_where_the_rfc_puts_them(milliseconds: int, random: bytes) -> None:
    made = uuid7(milliseconds, random)
    assert (made.version, made.variant, made.int >> 80) == (7, RFC_4122, milliseconds)


@given(TIMES, TIMES, RANDOM, RANDOM)
def test_they_sort_by_time(first: int, second: int, random: bytes, other: bytes) -> None:
    if first < second:
        assert str(uuid7(first, random)) < str(uuid7(second, other))


def test_all_74_random_bits_are_used() -> None:
    made = {uuid7(0, (1 << bit).to_bytes(RANDOM_BYTES)) for bit in range(80)}
    assert len(made - {uuid7(0, bytes(RANDOM_BYTES))}) == 74


@pytest.mark.parametrize(("milliseconds", "length"), [(-1, 10), (1 << 48, 10), (0, 9), (0, 11)])
def test_what_does_not_fit_is_refused(milliseconds: int, length: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        uuid7(milliseconds, bytes(length))
