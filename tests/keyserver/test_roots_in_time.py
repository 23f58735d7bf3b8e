"""A root that hangs or fails never takes the server along; a KEK that was opened is remembered for so long."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyserver import keywrap
from keyserver.errors import SetupError, Unavailable, WrapBroken
from keyserver.keywrap import CachedRoot, FileRoot, TimeLimited

KEK = bytes(range(32))


class Counted:
    """A real root that counts its calls, and can be made to hang or to fail."""

    def __init__(self) -> None:
        self._root = FileRoot(b"r" * 32, os.urandom)
        self.calls = 0
        self.failure: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.entered = threading.Semaphore(0)

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        self._obey()
        return self._root.wrap(kek, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        self._obey()
        return self._root.unwrap(wrapped, context)

    def check(self) -> None:
        self._obey()

    def _obey(self) -> None:
        self.calls += 1
        self.entered.release()
        self.go_on.wait(30)
        if self.failure is not None:
            raise self.failure


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_root_that_hangs_is_unavailable_and_is_not_piled_up_on() -> None:
    root = Counted()
    limited = TimeLimited(root, 0.05, at_once=2)
    root.go_on.clear()
    messages = []
    for _ in range(5):
        with pytest.raises(Unavailable) as outage:
            limited.wrap(KEK, b"c")
        messages.append(str(outage.value))
    assert root.calls == 2
    assert messages == [*["the root did not answer within 0.05 seconds"] * 2, *[messages[2]] * 3]
    assert "earlier calls" in messages[2]
    root.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "root":
            thread.join()
    assert limited.unwrap(limited.wrap(KEK, b"c"), b"c") == KEK


def test_whatever_a_library_raises_is_unavailable_and_not_quoted() -> None:
    root = Counted()
    root.failure = ZeroDivisionError("the request was: " + KEK.hex())
    with pytest.raises(Unavailable) as outage:
        TimeLimited(root, 5, 1).wrap(KEK, b"c")
    assert str(outage.value) == "the root failed (ZeroDivisionError)"
    root.failure = TimeoutError(KEK.hex())
    with pytest.raises(Unavailable) as outage:
        TimeLimited(root, 5, 1).wrap(KEK, b"c")
    assert KEK.hex() not in str(outage.value)


def test_a_root_that_becomes_unfit_is_a_mistake_at_the_start_and_an_outage_later() -> None:
    root = Counted()
    root.failure = SetupError("the key is gone")
    limited = TimeLimited(root, 5, 1)
    with pytest.raises(SetupError):
        limited.check()
    with pytest.raises(Unavailable, match="the key is gone"):
        limited.unwrap(bytes(60), b"c")


def test_wrong_context_stays_what_it_is() -> None:
    limited = TimeLimited(Counted(), 5, 1)
    wrapped = limited.wrap(KEK, b"c")
    with pytest.raises(WrapBroken):
        limited.unwrap(wrapped, b"d")


def test_an_opened_kek_is_remembered_for_its_time_and_no_longer() -> None:
    root, ticks = Counted(), Ticks()
    cached = CachedRoot(root, ticks, seconds=300)
    wrapped = cached.wrap(KEK, b"c")
    root.calls = 0
    assert cached.unwrap(wrapped, b"c") == KEK
    ticks.now += 299.9
    assert cached.unwrap(wrapped, b"c") == KEK
    assert root.calls == 1
    ticks.now += 0.1
    assert cached.unwrap(wrapped, b"c") == KEK
    assert root.calls == 2


def test_an_outage_is_survived_by_what_is_remembered_and_not_remembered_itself() -> None:
    root, ticks = Counted(), Ticks()
    cached = CachedRoot(root, ticks, seconds=300)
    known, unknown = cached.wrap(KEK, b"c"), cached.wrap(KEK, b"c")
    cached.unwrap(known, b"c")
    root.failure = Unavailable("down")
    assert cached.unwrap(known, b"c") == KEK
    with pytest.raises(Unavailable):
        cached.unwrap(unknown, b"c")
    root.failure = None
    assert cached.unwrap(unknown, b"c") == KEK
    ticks.now += 300
    root.failure = Unavailable("down")
    with pytest.raises(Unavailable):
        cached.unwrap(known, b"c")


def test_what_is_remembered_opens_only_for_its_own_bytes_and_context() -> None:
    cached = CachedRoot(FileRoot(b"r" * 32, os.urandom), Ticks(), seconds=300)
    wrapped = keywrap.wrap_new_kek(cached, "default", 1, os.urandom)
    keywrap.open_kek(cached, wrapped, "default", 1)
    altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for content, tenant, epoch in ((wrapped, "other", 1), (wrapped, "default", 2), (altered, "default", 1)):
        with pytest.raises(WrapBroken):
            keywrap.open_kek(cached, content, tenant, epoch)
    with pytest.raises(WrapBroken, match="destroyed"):
        keywrap.open_kek(cached, b"", "default", 1)


def test_many_requests_for_one_kek_ask_the_root_once() -> None:
    root = Counted()
    cached = CachedRoot(root, Ticks(), seconds=300)
    wrapped = cached.wrap(KEK, b"c")
    root.calls = 0
    root.go_on.clear()
    root.entered = threading.Semaphore(0)
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(cached.unwrap, wrapped, b"c") for _ in range(8)]
        assert root.entered.acquire(timeout=10)
        root.go_on.set()
        assert {answer.result(10) for answer in answers} == {KEK}
    assert root.calls == 1


def test_a_failure_reaches_all_who_wait_and_the_next_one_asks_again() -> None:
    root = Counted()
    cached = CachedRoot(root, Ticks(), seconds=300)
    wrapped = cached.wrap(KEK, b"c")
    root.failure = Unavailable("down")
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(cached.unwrap, wrapped, b"c") for _ in range(4)]
        assert all(isinstance(answer.exception(10), Unavailable) for answer in answers)
    root.failure = None
    assert cached.unwrap(wrapped, b"c") == KEK


def test_memory_is_bounded_and_the_oldest_make_room() -> None:
    root = Counted()
    cached = CachedRoot(root, Ticks(), seconds=300, capacity=3)
    wrapped = [cached.wrap(KEK, b"c") for _ in range(5)]
    for each in wrapped:
        cached.unwrap(each, b"c")
    root.calls = 0
    for each in reversed(wrapped):
        cached.unwrap(each, b"c")
    assert root.calls == 2


def test_a_cache_of_no_seconds_remembers_nothing() -> None:
    root = Counted()
    cached = CachedRoot(root, Ticks(), seconds=0)
    wrapped = cached.wrap(KEK, b"c")
    root.calls = 0
    assert [cached.unwrap(wrapped, b"c") for _ in range(3)] == [KEK] * 3
    assert root.calls == 3
