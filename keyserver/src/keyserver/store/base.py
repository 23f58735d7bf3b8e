"""What all tables are made with."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import CheckConstraint, Enum, Index, MetaData, text
from sqlalchemy.orm import DeclarativeBase

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can drop them on any database."""

    metadata = MetaData(naming_convention=_NAMES)


def state_of(states: type[StrEnum]) -> Enum:
    """A column that holds one of the words, as text."""
    return Enum(states, values_callable=lambda members: [m.value for m in members], native_enum=False, length=32)


def one_of(states: Iterable[StrEnum]) -> CheckConstraint:
    """The constraint that a column `state` holds one of these."""
    allowed = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"state IN ({allowed})", name="state")


def index_where(condition: str, *columns: str) -> Index:
    """An index of the rows that the condition (SQL) holds for."""
    return Index(None, *columns, postgresql_where=text(condition), sqlite_where=text(condition))
