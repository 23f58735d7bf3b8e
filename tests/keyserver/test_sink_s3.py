"""The sink in S3: the real boto3 against moto's server, over a real socket."""

from __future__ import annotations

import logging
import sys
from typing import Any

import boto3
import pytest
from moto_peer import lead_to
from toy_log import ToyLog

from keyserver.errors import SetupError
from keyserver.settings import Settings
from keyserver.sinks.opening import open_sinks, witnessing_of
from keyserver.sinks.s3_object import S3Sink
from keyserver.sinks.sink import SinkAhead, SinkFailed, SinkForked, SinkSpoiled


@pytest.fixture
def s3(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another client of the same store, with the environment that the server reads, and an empty bucket."""
    lead_to(aws_endpoint, "S3", monkeypatch, "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="checkpoints")
    yield client
    for found in client.list_objects_v2(Bucket="checkpoints").get("Contents", []):
        client.delete_object(Bucket="checkpoints", Key=found["Key"])
    client.delete_bucket(Bucket="checkpoints")


@pytest.fixture
def log() -> ToyLog:
    return ToyLog().grown_to(20)


@pytest.fixture
def sink(s3: Any) -> S3Sink:
    return S3Sink("checkpoints", "log/newest")


def held(s3: Any) -> str:
    return str(s3.get_object(Bucket="checkpoints", Key="log/newest")["Body"].read().decode())


def test_each_newer_checkpoint_takes_the_place_of_the_one_before(s3: Any, sink: S3Sink, log: ToyLog) -> None:
    for size in (3, 3, 4, 20):
        assert sink.push(log.offer(size)) == ()
        assert held(s3) == log.note(size)


def test_what_lies_there_can_be_read_and_a_store_that_is_away_is_told_from_an_empty_one(
    s3: Any, sink: S3Sink, log: ToyLog
) -> None:
    assert sink.held() is None
    sink.push(log.offer(3))
    assert sink.held() == log.note(3).encode()
    with pytest.raises(SinkFailed, match="NoSuchBucket"):
        S3Sink("no-such-bucket", "log/newest").held()


def test_an_older_one_or_a_forked_one_does_not(s3: Any, sink: S3Sink, log: ToyLog) -> None:
    sink.push(log.offer(10))
    with pytest.raises(SinkAhead):
        sink.push(log.offer(9))
    for size in (10, 15):
        with pytest.raises(SinkForked):
            sink.push(log.fork(at=5, size=20).offer(size))
    assert held(s3) == log.note(10)


def test_what_is_no_checkpoint_of_this_log_is_left_as_it_is(s3: Any, sink: S3Sink, log: ToyLog) -> None:
    for content in (b"", b"\xff", b"x" * 100_000, ToyLog().grown_to(3).note().encode()):
        s3.put_object(Bucket="checkpoints", Key="log/newest", Body=content)
        with pytest.raises(SinkSpoiled):
            sink.push(log.offer())
        assert s3.get_object(Bucket="checkpoints", Key="log/newest")["Body"].read() == content


@pytest.mark.parametrize("before", [None, 5])
def test_a_newer_one_that_another_replica_writes_in_between_stays(
    s3: Any, sink: S3Sink, log: ToyLog, before: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the slower one has read, and before it writes: the store itself refuses its write."""
    if before is not None:
        sink.push(log.offer(before))
    read, other = sink._read, S3Sink("checkpoints", "log/newest")

    def overtaken() -> Any:
        found = read()
        monkeypatch.undo()
        other._s3.put_object(**other._object, Body=log.note(20).encode())
        return found

    monkeypatch.setattr(sink, "_read", overtaken)
    with pytest.raises(SinkAhead):
        sink.push(log.offer(10))
    assert held(s3) == log.note(20)


def test_an_older_one_that_is_put_in_between_is_replaced_and_not_taken_for_an_end(
    s3: Any, sink: S3Sink, log: ToyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, other = sink._read, S3Sink("checkpoints", "log/newest")

    def overtaken() -> Any:
        found = read()
        monkeypatch.undo()
        other.push(log.offer(10))
        return found

    monkeypatch.setattr(sink, "_read", overtaken)
    sink.push(log.offer(20))
    assert held(s3) == log.note(20)


def test_a_store_that_is_not_there_or_not_ours_is_a_failure(
    s3: Any, log: ToyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SinkFailed, match="NoSuchBucket"):
        S3Sink("others-bucket", "newest").push(log.offer())
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(SinkFailed) as failure:
        S3Sink("checkpoints", "newest").push(log.offer())
    assert "127.0.0.1" not in str(failure.value)


def test_missing_settings_or_a_missing_library_are_the_operator_s_to_mend(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(checkpoint_sinks=("s3://checkpoints/newest",))
    (sink,) = open_sinks(settings, witnessing_of(settings))
    assert sink.name == "s3://checkpoints/newest"
    monkeypatch.delitem(sys.modules, "keyserver.sinks.s3_object")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SetupError, match=r"faceseal-keyserver\[s3\]"):
        open_sinks(settings, witnessing_of(settings))


def test_no_credential_is_logged_even_at_the_lowest_level(
    sink: S3Sink, log: ToyLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.push(log.offer())
    assert "tests-only-secret" not in caplog.text
