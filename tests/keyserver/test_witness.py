"""The witness: every step of tlog-witness in its order, and no two histories, whoever asks at once."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from toy_log import ToyLog

from faceseal.cosignature import cosignatures, text_of
from faceseal.translog import VerifierKey, sign_checkpoint
from keyserver.errors import SetupError
from keyserver.witness import cosigning, memory
from keyserver.witness.app import create_witness_app
from keyserver.witness.cosigning import Answer, Witness
from keyserver.witness.submission import MOST_BYTES, Submission

NOW = 1_800_000_000


@pytest.fixture
def log() -> ToyLog:
    return ToyLog().grown_to(20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    memory.create(tmp_path / "witness", "witness.example/w1")
    return tmp_path / "witness"


def witness_of(folder: Path, *logs: ToyLog) -> Witness:
    seconds = itertools.count()
    keys = [log.key for log in logs]
    return Witness(folder, memory.open_identity(folder), keys, lambda: NOW, lambda: float(next(seconds)))


@pytest.fixture
def ask(folder: Path, log: ToyLog) -> Callable[..., Answer]:
    witness = witness_of(folder, log)

    def asked(old: int, size: int, of: ToyLog | None = None, proof: list[bytes] | None = None) -> Answer:
        of = of or log
        proof = of.proof(min(old, size), size) if proof is None else proof
        return witness.add_checkpoint(Submission(old, proof, of.note(size)).encoded())

    return asked


def cosigned(answer: Answer, log: ToyLog, size: int, folder: Path) -> bool:
    key = memory.open_identity(folder).key
    found = cosignatures(text_of(log.note(size)), [answer.body], [key]) if answer.status == 200 else []
    return [one.time for one in found] == [NOW]


def test_a_log_that_grows_is_cosigned_step_by_step(ask: Callable[..., Answer], log: ToyLog, folder: Path) -> None:
    for old, size in [(0, 3), (3, 3), (3, 4), (4, 20), (20, 20)]:
        assert cosigned(ask(old, size), log, size, folder)


def test_a_log_of_others_is_cosigned(folder: Path) -> None:
    """The golden log of transparency-dev's tessera (testdata/log): its leaves, key, roots and one of its signatures."""
    leaves = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eit",
        "nain",
        "ten",
        "ileven",
        "twelf",
        "threeten",
        "fourten",
        "fivten",
    ]
    seed = base64.b64decode("AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg")[1:]
    golden = ToyLog("example.com/log/testdata", Ed25519PrivateKey.from_private_bytes(seed)).grow(*leaves)
    eighth = (
        "example.com/log/testdata\n8\nbC+VwvrJbalNVjfkdI8kUgs7mJoXrqiXCE7bgnD28pY=\n\n— example.com/log/testdata "
        "M9e0lq1EK37dHtgv9O3UzPxisw5vwIPcJsX9ab0xt4mvVfbdUR1fbMjN6sBFYpBoBEmD4+cWhj/AVgI5MitCO5+mews=\n"
    )
    assert golden.key == VerifierKey.parse(
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    )
    assert base64.b64encode(golden.checkpoint(15).root) == b"rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs="
    witness = witness_of(folder, golden)
    assert cosigned(witness.add_checkpoint(Submission(0, [], eighth).encoded()), golden, 8, folder)
    grown = Submission(8, golden.proof(8), golden.note()).encoded()
    assert cosigned(witness.add_checkpoint(grown), golden, 15, folder)


def test_an_empty_log_is_cosigned_and_may_grow(ask: Callable[..., Answer], log: ToyLog, folder: Path) -> None:
    assert cosigned(ask(0, 0), log, 0, folder)
    assert cosigned(ask(0, 5), log, 5, folder)


def test_an_empty_log_has_the_root_of_an_empty_log(folder: Path, log: ToyLog) -> None:
    wrong = sign_checkpoint(
        log.checkpoint(0).__class__(log.key.name, 0, bytes(32)),
        log.private,
        log.key.name,
    )
    assert witness_of(folder, log).add_checkpoint(Submission(0, [], wrong).encoded()).status == 409


@pytest.mark.parametrize("old", [0, 5, 9, 11, 20])
def test_another_old_size_is_a_conflict_that_names_the_right_one(ask: Callable[..., Answer], old: int) -> None:
    ask(0, 10)
    answer = ask(old, 20)
    assert (answer.status, answer.body, answer.media_type) == (409, "10\n", "text/x.tlog.size")


def test_going_back_is_refused_even_with_the_size_that_it_had(ask: Callable[..., Answer]) -> None:
    ask(0, 10)
    assert ask(10, 5, proof=[]).status == 400
    assert (ask(5, 5).status, ask(0, 5).status) == (409, 409)


def test_a_forked_log_is_refused_at_the_same_size_and_at_a_larger_one(
    ask: Callable[..., Answer], log: ToyLog, folder: Path
) -> None:
    ask(0, 10)
    forked = log.fork(at=7, size=20)
    assert (ask(10, 10, forked).status, ask(10, 10, forked).body) == (409, "10\n")
    assert ask(10, 20, forked).status == 422
    # And the true one goes on.
    assert cosigned(ask(10, 20), log, 20, folder)


def test_a_proof_that_is_missing_wrong_or_too_much_is_refused(ask: Callable[..., Answer], log: ToyLog) -> None:
    assert ask(0, 10, proof=[bytes(32)]).status == 422
    ask(0, 10)
    right = log.proof(10, 20)
    for proof in ([], right[:-1], [*right, bytes(32)], right[::-1], [bytes(32)] * 63):
        assert ask(10, 20, proof=proof).status == 422
    assert ask(10, 20).status == 200


def test_an_unknown_log_is_404_and_a_known_one_with_another_key_403(ask: Callable[..., Answer], log: ToyLog) -> None:
    assert ask(0, 3, ToyLog("log.example/other").grown_to(3)).status == 404
    assert ask(0, 3, ToyLog(log.key.name).grown_to(3)).status == 403


def test_a_log_with_two_keys_may_be_signed_by_either(folder: Path, log: ToyLog) -> None:
    renewed = ToyLog(log.key.name).grown_to(20)
    witness = witness_of(folder, log, renewed)
    assert witness.add_checkpoint(Submission(0, [], log.note(3)).encoded()).status == 200
    assert witness.add_checkpoint(Submission(3, renewed.proof(3, 5), renewed.note(5)).encoded()).status == 200
    # What one key has signed binds the other.
    forked = renewed.fork(at=4, size=9)
    assert witness.add_checkpoint(Submission(5, forked.proof(5), forked.note()).encoded()).status == 422


def test_logs_do_not_get_in_each_other_s_way(folder: Path, log: ToyLog) -> None:
    other = ToyLog("log.example/other").grown_to(8)
    witness = witness_of(folder, log, other)
    for each in (log, other):
        assert witness.add_checkpoint(Submission(0, [], each.note()).encoded()).status == 200
    assert len(list((folder / "logs").iterdir())) == 2


def test_a_checkpoint_that_is_signed_in_another_log_s_name_is_refused(folder: Path, log: ToyLog) -> None:
    """The operator of one log cannot spoil another that the witness knows."""
    victim = ToyLog("log.example/victim").grown_to(3)
    witness = witness_of(folder, log, victim)
    forged = sign_checkpoint(victim.checkpoint(), log.private, log.key.name)
    assert witness.add_checkpoint(Submission(0, [], forged).encoded()).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 0\n\n",
        b"old -1\n\nx",
        b"old 00\n\nx",
        b"old \xd9\xa1\n\nx",
        b"old 1e3\n\nx",
        b"old " + b"9" * 5000 + b"\n\nx",
        b"new 0\n\nx\n",
        b"old 0\nnot base64\n\nx",
        b"old 0\n" + base64.b64encode(bytes(31)) + b"\n\nx",
        b"old 0\n" + (base64.b64encode(bytes(32)) + b"\n") * 64 + b"\nx",
        b"old 0\n" + base64.b64encode(bytes(32)).replace(b"A=", b"B=") + b"\n\nx",
        b"old 0\n\n\xff\xfe",
        b"old 0\r\n\r\nx",
        b"x" * (MOST_BYTES + 1),
    ],
)
def test_what_is_no_submission_is_400(folder: Path, log: ToyLog, body: bytes) -> None:
    assert witness_of(folder, log).add_checkpoint(body).status == 400


@given(st.integers(0, 1 << 62), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.text(max_size=200))
def test_a_submission_comes_back_as_it_was_written(old: int, proof: list[bytes], note: str) -> None:
    assert Submission.parse(Submission(old, proof, note).encoded()) == Submission(old, proof, note)


def test_it_goes_on_where_it_was_after_a_new_start(folder: Path, log: ToyLog) -> None:
    witness_of(folder, log).add_checkpoint(Submission(0, [], log.note(10)).encoded())
    forked = log.fork(at=5, size=12)
    again = witness_of(folder, log)
    assert again.add_checkpoint(Submission(0, [], forked.note()).encoded()).body == "10\n"
    assert again.add_checkpoint(Submission(10, forked.proof(10), forked.note()).encoded()).status == 422


def test_nothing_is_cosigned_that_is_not_on_disk(folder: Path, log: ToyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = witness_of(folder, log)

    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(memory, "replace_file", full)
    with TestClient(create_witness_app(witness)) as client:
        body = Submission(0, [], log.note(3)).encoded()
        answer = client.post("/add-checkpoint", content=body)
        assert (answer.status_code, "—" in answer.text) == (503, False)
        monkeypatch.undo()
        assert client.post("/add-checkpoint", content=body).status_code == 200


def test_the_state_is_written_before_anything_is_signed(
    folder: Path, log: ToyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    remember, cosign = memory.remember, cosigning.cosign
    monkeypatch.setattr(memory, "remember", lambda *each: (remember(*each), order.append("written")))
    monkeypatch.setattr(cosigning, "cosign", lambda *each: (order.append("signed"), cosign(*each))[1])
    witness_of(folder, log).add_checkpoint(Submission(0, [], log.note(3)).encoded())
    assert order == ["written", "signed"]


def test_of_two_that_ask_at_once_from_the_same_size_one_gets_on(folder: Path, log: ToyLog) -> None:
    """Two histories that both continue what it knows: cosigning both is what must never happen."""
    forked = log.fork(at=10, size=20)
    for _ in range(5):
        witness = witness_of(folder, log)
        for path in (folder / "logs").iterdir():
            path.unlink()
        witness.add_checkpoint(Submission(0, [], log.note(10)).encoded())
        together, answers = threading.Barrier(8), []

        def ask(of: ToyLog, witness: Witness = witness, together: threading.Barrier = together) -> None:
            body = Submission(10, of.proof(10, 20), of.note(20)).encoded()
            together.wait(10)
            answers.append((of, witness.add_checkpoint(body).status))  # noqa: B023 - joined below

        threads = [threading.Thread(target=ask, args=(of,)) for of in (log, forked) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(answers) == 8
        assert len({id(of) for of, status in answers if status == 200}) == 1


def test_a_witness_that_has_lost_what_it_signed_does_not_begin_again(folder: Path, log: ToyLog) -> None:
    (folder / "logs").rmdir()
    with pytest.raises(SetupError, match="lost"):
        memory.open_identity(folder)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff", b"x" * 20_000], ids=["empty", "text", "bytes", "long"])
def test_what_was_remembered_and_is_spoiled_stops_the_witness(folder: Path, log: ToyLog, content: bytes) -> None:
    witness = witness_of(folder, log)
    witness.add_checkpoint(Submission(0, [], log.note(3)).encoded())
    (path,) = (folder / "logs").iterdir()
    path.write_bytes(content)
    with pytest.raises(SetupError, match="cannot be read"):
        witness_of(folder, log)


def test_what_is_spoiled_while_it_runs_is_not_cosigned_over(folder: Path, log: ToyLog) -> None:
    with TestClient(create_witness_app(witness_of(folder, log))) as client:
        assert client.post("/add-checkpoint", content=Submission(0, [], log.note(3)).encoded()).status_code == 200
        (path,) = (folder / "logs").iterdir()
        path.write_bytes(b"garbage")
        assert client.post("/add-checkpoint", content=Submission(0, [], log.note(4)).encoded()).status_code == 503
        assert path.read_bytes() == b"garbage"


def test_making_it_again_gives_the_same_key_and_another_name_is_refused(folder: Path) -> None:
    key = memory.open_identity(folder).key
    assert memory.create(folder, "witness.example/w1").key == key
    with pytest.raises(SetupError):
        memory.create(folder, "witness.example/w2")
    with pytest.raises(SetupError):
        memory.create(folder.with_name("new"), "no name")
    assert (folder / "witness.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_second_process_is_kept_out(folder: Path) -> None:
    with memory.only_one(folder), pytest.raises(SetupError, match="another witness"), memory.only_one(folder):
        pass
    with memory.only_one(folder):
        pass


def test_a_log_that_floods_is_slowed_down_and_loses_nothing(folder: Path) -> None:
    log = ToyLog().grown_to(60)
    identity = memory.open_identity(folder)
    witness = Witness(folder, identity, [log.key], lambda: NOW, lambda: 0.0)
    statuses = [
        witness.add_checkpoint(Submission(size - 1, log.proof(size - 1, size), log.note(size)).encoded()).status
        for size in range(1, 61)
    ]
    assert statuses == [200] * 40 + [429] + [409] * 19
    # Asking again for what is cosigned writes nothing and is not slowed down.
    assert witness.add_checkpoint(Submission(40, [], log.note(40)).encoded()).status == 200


def test_over_http_it_is_bounded_and_says_what_the_specification_says(folder: Path, log: ToyLog) -> None:
    with TestClient(create_witness_app(witness_of(folder, log))) as client:
        body = Submission(0, [], log.note(3)).encoded()
        assert client.post("/add-checkpoint", content=body).text.startswith("— witness.example/w1 ")
        conflict = client.post("/add-checkpoint", content=body)
        assert (conflict.status_code, conflict.text) == (409, "3\n")
        assert conflict.headers["content-type"] == "text/x.tlog.size"
        assert client.post("/add-checkpoint", content=b"x" * (MOST_BYTES + 1)).status_code == 413
        assert client.get("/add-checkpoint").status_code == 405
        assert client.get("/openapi.json").status_code == 404
        assert client.get("/healthz").status_code == 200


def test_no_other_private_key_is_ever_made(folder: Path) -> None:
    held = memory.open_identity(folder).private
    assert isinstance(held, Ed25519PrivateKey)
    assert (folder / "witness.key").read_bytes() == held.private_bytes_raw()
