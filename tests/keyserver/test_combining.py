"""Requests that wait are served together, each with its own result, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context

import pytest

from keyserver.service.combining import Combining


class Gate:
    """Work that waits until it is let go; `started` tells that it is under way."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.open = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        self.open.wait(10)
        return [item * 10 for item in items]


def test_a_single_request_waits_for_nobody() -> None:
    combining: Combining[int, int] = Combining(lambda items: [item + 1 for item in items])
    assert [combining.run(number) for number in range(3)] == [1, 2, 3]


def started(gate: Gate, combining: Combining[int, int]) -> Future[int]:
    """The first item, whose work is under way."""
    future = combining.submit(0)
    assert gate.started.wait(10)
    return future


def test_those_who_come_meanwhile_go_along_together() -> None:
    gate = Gate()
    combining = Combining(gate)
    futures = [started(gate, combining), *(combining.submit(number) for number in range(1, 9))]
    gate.open.set()
    assert [future.result(10) for future in futures] == [number * 10 for number in range(9)]
    assert gate.batches == [[0], list(range(1, 9))]


def test_no_batch_is_larger_than_allowed() -> None:
    gate = Gate()
    combining = Combining(gate, most=3)
    futures = [started(gate, combining), *(combining.submit(number) for number in range(1, 9))]
    gate.open.set()
    assert [future.result(10) for future in futures] == [number * 10 for number in range(9)]
    assert [len(batch) for batch in gate.batches] == [1, 3, 3, 2]


def test_who_gives_up_before_the_turn_takes_no_part_and_later_has_no_say() -> None:
    gate = Gate()
    combining = Combining(gate)
    first, second, third = started(gate, combining), combining.submit(1), combining.submit(2)
    assert second.cancel()
    assert not first.cancel()
    gate.open.set()
    assert (first.result(10), third.result(10)) == (0, 20)
    assert gate.batches == [[0], [2]]


def test_work_that_all_gave_up_is_not_done_and_the_next_is() -> None:
    gate = Gate()
    combining = Combining(gate)
    first, second = started(gate, combining), combining.submit(1)
    assert second.cancel()
    gate.open.set()
    assert first.result(10) == 0
    assert combining.run(2) == 20
    assert gate.batches == [[0], [2]]


def test_work_sees_the_context_of_the_first() -> None:
    whose: ContextVar[str] = ContextVar("whose")

    def work(items: Sequence[int]) -> list[str]:
        return [whose.get() for _ in items]

    combining = Combining(work)
    for name in ("alice", "bob"):
        context = copy_context()
        context.run(whose.set, name)
        assert context.run(combining.run, 1) == name


def test_a_failure_reaches_all_of_its_batch_and_no_other() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise ArithmeticError("unlucky")
        return list(items)

    combining = Combining(work)
    with pytest.raises(ArithmeticError, match="unlucky"):
        combining.run(13)
    assert combining.run(14) == 14


def test_a_result_too_few_is_a_failure_not_a_hang() -> None:
    combining: Combining[int, int] = Combining(lambda _items: [])
    with pytest.raises(ValueError, match="zip"):
        combining.run(1)


def test_under_load_every_request_gets_its_own_result() -> None:
    combining: Combining[int, int] = Combining(lambda items: [item * 7 for item in items], most=5)
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(combining.run, range(3000))) == [number * 7 for number in range(3000)]
