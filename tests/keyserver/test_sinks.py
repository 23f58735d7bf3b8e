"""Sinks: the file that no older checkpoint replaces, and the witness that may say anything at all."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lying_witness import LyingWitness, running_lying_witness
from own_certificate import make_certificate
from pydantic import ValidationError
from toy_log import ToyLog

from faceseal.cosignature import WitnessKey, cosign, text_of
from keyserver.errors import SetupError
from keyserver.settings import Settings
from keyserver.sinks.addresses import check_address, object_of, path_of
from keyserver.sinks.file import FileSink
from keyserver.sinks.http_witness import MOST_ANSWER_BYTES, HttpWitness
from keyserver.sinks.opening import open_sinks, witnessing_of
from keyserver.sinks.sink import SinkAhead, SinkFailed, SinkForked, SinkSpoiled
from keyserver.witness.submission import Submission

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = WitnessKey("witness.example/w1", PRIVATE.public_key().public_bytes_raw())
OTHER_KEY = WitnessKey("witness.example/w2", bytes(32))


@pytest.fixture
def log() -> ToyLog:
    return ToyLog().grown_to(20)


@pytest.fixture
def file(tmp_path: Path) -> FileSink:
    return FileSink(tmp_path / "checkpoint")


@pytest.fixture
def liar() -> Iterator[LyingWitness]:
    with running_lying_witness() as peer:
        yield peer


def held(file: FileSink) -> str:
    return path_of(file.name).read_text()


def test_a_file_gets_each_newer_checkpoint_readable_by_all(file: FileSink, log: ToyLog) -> None:
    for size in (3, 3, 4, 20):
        assert file.push(log.offer(size)) == ()
        assert held(file) == log.note(size)
    path = path_of(file.name)
    assert path.stat().st_mode & 0o777 == 0o644
    assert {each.name for each in path.parent.iterdir()} == {"checkpoint", ".checkpoint.lock"}


def test_a_file_is_not_replaced_by_an_older_checkpoint_or_a_forked_one(file: FileSink, log: ToyLog) -> None:
    file.push(log.offer(10))
    with pytest.raises(SinkAhead) as ahead:
        file.push(log.offer(9))
    assert ahead.value.size == 10
    for size in (10, 15):
        with pytest.raises(SinkForked):
            file.push(log.fork(at=5, size=20).offer(size))
    assert held(file) == log.note(10)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"x" * 100_000])
def test_what_is_no_checkpoint_of_this_log_is_left_as_it_is(file: FileSink, log: ToyLog, content: bytes) -> None:
    path = path_of(file.name)
    path.write_bytes(content)
    with pytest.raises(SinkSpoiled):
        file.push(log.offer())
    assert path.read_bytes() == content


def test_another_log_s_checkpoint_is_left_as_it_is(file: FileSink, log: ToyLog) -> None:
    for other in (ToyLog().grown_to(3), ToyLog("log.example/other", log.private).grown_to(3)):
        path_of(file.name).write_text(other.note())
        with pytest.raises(SinkSpoiled):
            file.push(log.offer())


def test_a_file_that_another_replica_writes_at_this_moment_is_left_to_it(file: FileSink, log: ToyLog) -> None:
    with file._locked(), pytest.raises(SinkFailed, match="another replica"):
        FileSink(path_of(file.name), 0.1).push(log.offer())


def test_replicas_that_push_at_once_leave_the_newest(file: FileSink, log: ToyLog) -> None:
    path, together = path_of(file.name), threading.Barrier(4)

    def push(start: int) -> None:
        together.wait(10)
        for size in range(start, 21, 4):
            try:
                FileSink(path).push(log.offer(size))
            except (SinkAhead, SinkFailed):
                continue

    threads = [threading.Thread(target=push, args=(start,)) for start in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    try:
        file.push(log.offer(1))
        newest = 1
    except SinkAhead as ahead:
        newest = ahead.size
    assert held(file) == log.note(newest)
    file.push(log.offer(20))
    assert held(file) == log.note(20)


def test_a_folder_that_is_not_there_is_a_failure_without_its_path(tmp_path: Path, log: ToyLog) -> None:
    with pytest.raises(SinkFailed) as failure:
        FileSink(tmp_path / "none" / "checkpoint").push(log.offer())
    assert str(tmp_path) not in str(failure.value)


def truthful(log: ToyLog, size: int) -> str:
    return cosign(text_of(log.note(size)), PRIVATE, KEY.name, 1)


def test_a_cosignature_comes_back_and_the_next_push_proves_from_there(liar: LyingWitness, log: ToyLog) -> None:
    witness = HttpWitness(liar.url, [OTHER_KEY, KEY])
    for size in (10, 20):
        liar.says(200, truthful(log, size))
        (one,) = witness.push(log.offer(size))
        assert one.witness == KEY
    first, second = (Submission.parse(body) for body in liar.asked)
    assert (first.old_size, first.proof, second.old_size, second.proof) == (0, [], 10, log.proof(10, 20))


def test_a_new_replica_learns_the_size_and_proves_from_it(liar: LyingWitness, log: ToyLog) -> None:
    conflict = (409, {"Content-Type": "text/x.tlog.size"}, b"10\n")
    answers = [conflict, (200, {}, truthful(log, 20).encode())]
    liar.answer = lambda _: answers.pop(0)
    assert HttpWitness(liar.url, [KEY]).push(log.offer())
    assert Submission.parse(liar.asked[1]).proof == log.proof(10, 20)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "garbage\n",
        "— witness.example/w1 AAAA\n",
        cosign("another\n1\ntext\n", PRIVATE, KEY.name, 1),
        cosign("x\n", Ed25519PrivateKey.generate(), KEY.name, 1),
        "\x00" * 1000,
    ],
)
def test_a_success_without_a_cosignature_that_counts_is_a_failure(liar: LyingWitness, log: ToyLog, line: str) -> None:
    liar.says(200, line)
    with pytest.raises(SinkFailed, match="no cosignature"):
        HttpWitness(liar.url, [KEY]).push(log.offer())


def test_a_cosignature_on_an_older_checkpoint_does_not_count(liar: LyingWitness, log: ToyLog) -> None:
    liar.says(200, truthful(log, 19))
    with pytest.raises(SinkFailed, match="no cosignature"):
        HttpWitness(liar.url, [KEY]).push(log.offer(20))


def test_a_witness_that_has_more_is_ahead_and_one_that_disagrees_is_forked(liar: LyingWitness, log: ToyLog) -> None:
    liar.names(21)
    with pytest.raises(SinkAhead) as ahead:
        HttpWitness(liar.url, [KEY]).push(log.offer())
    assert ahead.value.size == 21
    # The same size, named again and again: the root is another.
    liar.names(20)
    with pytest.raises(SinkForked):
        HttpWitness(liar.url, [KEY]).push(log.offer())
    answers = [(409, {"Content-Type": "text/x.tlog.size"}, b"10\n"), (422, {}, b"")]
    liar.answer = lambda _: answers.pop(0)
    with pytest.raises(SinkForked):
        HttpWitness(liar.url, [KEY]).push(log.offer())


def test_a_conflict_at_the_same_size_that_names_no_size_is_a_fork(liar: LyingWitness, log: ToyLog) -> None:
    witness = HttpWitness(liar.url, [KEY])
    liar.says(200, truthful(log, 20))
    witness.push(log.offer())
    liar.says(409, "other root")
    with pytest.raises(SinkForked):
        witness.push(log.offer())


def test_a_witness_that_names_another_size_each_time_is_given_up(liar: LyingWitness, log: ToyLog) -> None:
    liar.names(5, 7, 3, 8, 2, 9)
    with pytest.raises(SinkFailed, match="another size"):
        HttpWitness(liar.url, [KEY]).push(log.offer())
    assert len(liar.asked) == 4


@pytest.mark.parametrize("body", ["", "-1\n", "01\n", "1e5\n", "9" * 400, "٣\n", "7 \n", "\xff"])
def test_a_conflict_that_names_no_size_says_nothing(liar: LyingWitness, log: ToyLog, body: str) -> None:
    liar.says(409, body.encode("latin-1", "replace"), **{"Content-Type": "text/x.tlog.size"})
    with pytest.raises(SinkFailed):
        HttpWitness(liar.url, [KEY]).push(log.offer())
    liar.says(409, "7\n", **{"Content-Type": "text/html"})
    with pytest.raises(SinkFailed):
        HttpWitness(liar.url, [KEY]).push(log.offer())


@pytest.mark.parametrize("status", [201, 204, 301, 307, 400, 401, 403, 404, 422, 429, 500, 503])
def test_every_other_answer_is_a_failure_and_no_redirect_is_followed(
    liar: LyingWitness, log: ToyLog, status: int
) -> None:
    liar.says(status, "", Location=f"{liar.url}/elsewhere")
    with pytest.raises(SinkFailed):
        HttpWitness(liar.url, [KEY]).push(log.offer())
    assert len(liar.asked) == 1


def test_an_answer_without_end_or_compressed_is_given_up(liar: LyingWitness, log: ToyLog) -> None:
    liar.flood = True
    liar.says(200, truthful(log, 20))
    with pytest.raises(SinkFailed, match=str(MOST_ANSWER_BYTES)):
        HttpWitness(liar.url, [KEY]).push(log.offer())
    liar.flood = False
    liar.says(200, gzip.compress(truthful(log, 20).encode()), **{"Content-Encoding": "gzip"})
    with pytest.raises(SinkFailed, match="compressed"):
        HttpWitness(liar.url, [KEY]).push(log.offer())


def test_a_slow_witness_is_given_up_in_time_whether_silent_or_dripping(liar: LyingWitness, log: ToyLog) -> None:
    liar.drip = True
    liar.says(200, truthful(log, 20))
    with pytest.raises(SinkFailed, match=r"within 0\.3 seconds"):
        HttpWitness(liar.url, [KEY], 0.3).push(log.offer())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SinkFailed):
            HttpWitness(url, [KEY], 0.3).push(log.offer())


def test_a_witness_that_is_not_there_is_a_failure_that_quotes_no_address(log: ToyLog) -> None:
    with pytest.raises(SinkFailed) as failure:
        HttpWitness("http://127.0.0.1:1/secret", [KEY]).push(log.offer())
    assert "secret" not in str(failure.value)


def test_a_certificate_that_nobody_vouches_for_is_a_failure_and_nothing_is_told(
    log: ToyLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    with running_lying_witness(certificate) as liar:
        liar.says(200, truthful(log, 20))
        with pytest.raises(SinkFailed, match="ConnectError"):
            HttpWitness(liar.url, [KEY]).push(log.offer())
        assert liar.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert HttpWitness(liar.url, [KEY]).push(log.offer())


@pytest.mark.parametrize(
    "url",
    [
        "file:///var/backup/checkpoint",
        "file:///with%20space",
        "s3://bucket/folder/checkpoint",
        "https://witness.example",
        "https://10.0.0.7:8443/witness/1/",
        "http://127.0.0.1:8490",
        "http://localhost:8490/",
    ],
)
def test_these_may_be_sinks(url: str) -> None:
    assert check_address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "checkpoint",
        "file:checkpoint",
        "file://host/path",
        "file:///",
        "file:///a?b",
        "file:///a%00b",
        "s3://bucket",
        "s3://bucket/",
        "s3://key:secret@bucket/checkpoint",
        "s3://Bucket/key",
        "http://witness.example",
        "https://user:secret@witness.example",
        "https://witness.example/?token=secret",
        "ftp://witness.example",
        "https://",
    ],
)
def test_these_may_not_and_are_not_quoted(url: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the settings say where
        check_address(url)
    with pytest.raises(ValidationError) as refusal:
        Settings(checkpoint_sinks=(url,))
    assert "secret" not in f"{refusal.value}{refused.value}"


def test_the_parts_of_an_address_are_what_they_say() -> None:
    assert path_of("file:///with%20space/checkpoint") == Path("/with space/checkpoint")
    assert object_of("s3://bucket.example/a/b") == ("bucket.example", "a/b")


def with_a_limit(seconds: int, **others: object) -> dict[str, object]:
    witness = {"checkpoint_sinks": ("http://127.0.0.1:1",), "checkpoint_witnesses": (str(KEY),)}
    return {**witness, "checkpoint_unwitnessed_seconds": seconds, **others}


@pytest.mark.parametrize(
    "settings", [with_a_limit(25), with_a_limit(46, checkpoint_push_seconds=12)], ids=["default", "slow"]
)
def test_a_limit_with_room_for_three_looks_and_the_answers_is_taken(settings: dict[str, object]) -> None:
    chosen = Settings(**settings)  # type: ignore[arg-type]
    assert len(open_sinks(chosen, witnessing_of(chosen))) == 1


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"checkpoint_sinks": ("http://127.0.0.1:1",)}, "WITNESSES"),
        ({"checkpoint_sinks": ("file:///a", "file:///a")}, "twice"),
        ({"checkpoint_witnesses": ("garbage",)}, "WITNESSES"),
        ({"checkpoint_witnesses": (str(KEY),), "checkpoint_quorum": 2}, "QUORUM"),
        ({"checkpoint_witnesses": (str(KEY), str(KEY)), "checkpoint_quorum": 2}, "QUORUM"),
        ({"checkpoint_witnesses": (str(KEY), str(WitnessKey("w2", KEY.public)))}, "two names"),
        ({"checkpoint_unwitnessed_seconds": 60}, "QUORUM"),
        ({"checkpoint_unwitnessed_seconds": 60, "checkpoint_witnesses": (str(KEY),)}, "needs a witness"),
        (with_a_limit(24), "at least three times .*: 25$"),
        (with_a_limit(45, checkpoint_push_seconds=12), "at least three times .*: 46$"),
    ],
)
def test_settings_that_promise_what_cannot_be_are_refused(settings: dict[str, object], why: str) -> None:
    chosen = Settings(**settings)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=why):
        open_sinks(chosen, witnessing_of(chosen))
