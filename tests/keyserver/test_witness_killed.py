"""A witness that is killed, at every step that matters and at random ones, never signs two histories."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest
from lying_witness import running_lying_witness
from toy_log import ToyLog
from witness_process import WitnessProcess

from faceseal.cosignature import cosignatures, text_of
from faceseal.translog import open_checkpoint
from keyserver.sinks.http_witness import HttpWitness
from keyserver.sinks.sink import SinkFailed, SinkForked
from keyserver.witness import memory
from keyserver.witness.submission import Submission

# Put before the program: it kills itself where it is told to, and no later.
KILLED = """
import os, signal
from keyserver.witness import cosigning, memory
step, remember, cosign = os.environ["KILLED_AT"], memory.remember, cosigning.cosign
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def written(*each): remember(*each); die()
def signed(*each): cosign(*each); die()
if step == "before writing": memory.remember = die
if step == "between writing and signing": memory.remember = written
if step == "between signing and answering": cosigning.cosign = signed
if step == "between writing and renaming":
    import faceseal.durable
    faceseal.durable.Path.replace = die
"""


@pytest.fixture
def log() -> ToyLog:
    return ToyLog().grown_to(40)


@pytest.fixture
def killed(tmp_path: Path) -> dict[str, str]:
    """What makes a Python program run `KILLED` first."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        'import os\nif os.environ.get("KILLED_AT"):\n    exec(os.environ["KILLER"])\n'
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "KILLER": KILLED}


@pytest.mark.parametrize(
    ("step", "was_written"),
    [
        ("before writing", False),
        ("between writing and renaming", False),
        ("between writing and signing", True),
        ("between signing and answering", True),
    ],
)
def test_killed_between_two_steps_it_goes_on_from_what_is_on_disk(
    tmp_path: Path, log: ToyLog, killed: dict[str, str], step: str, was_written: bool
) -> None:
    dying = WitnessProcess(tmp_path / "witness", log.key, **killed, KILLED_AT=step)
    memory.remember(dying.folder, log.key.name, log.note(10))
    with dying as running:
        sink = HttpWitness(running.url, [running.key], 20)
        with pytest.raises(SinkFailed):
            sink.push(log.offer(20))
        assert running.process.wait(20) == -signal.SIGKILL
        running.started_again(KILLED_AT="")
        # Asked again, it cosigns the same; of another history it knows which one it is bound to.
        forked = HttpWitness(running.url, [running.key], 20)
        if was_written:
            with pytest.raises(SinkForked):
                forked.push(log.fork(at=15, size=20).offer(20))
            assert sink.push(log.offer(20))
            with pytest.raises(SinkForked):
                forked.push(log.fork(at=15, size=30).offer(30))
        else:
            # Nobody got a signature on the other one: it is free, as if it had not been asked.
            assert forked.push(log.fork(at=15, size=20).offer(20))
            with pytest.raises(SinkForked):
                sink.push(log.offer(20))


def test_killed_at_random_under_two_histories_all_that_it_signed_continues_each_other(
    tmp_path: Path, log: ToyLog
) -> None:
    forked, chance, stop = log.fork(at=8, size=40), random.Random(20), threading.Event()
    signed: list[tuple[ToyLog, int]] = []
    with WitnessProcess(tmp_path / "witness", log.key) as running:

        def keep_asking(of: ToyLog) -> None:
            known = 0
            with httpx.Client(base_url=running.url, timeout=10) as client:
                while not stop.is_set():
                    size = min(40, known + 1)
                    body = Submission(known, of.proof(known, size), of.note(size)).encoded()
                    try:
                        answer = client.post("/add-checkpoint", content=body)
                    except httpx.HTTPError:
                        time.sleep(0.02)
                        continue
                    if answer.status_code == 200:
                        assert cosignatures(text_of(of.note(size)), [answer.text], [running.key])
                        signed.append((of, size))
                        known = size
                    elif answer.status_code == 409:
                        known = int(answer.text)
                    time.sleep(0.002)

        threads = [threading.Thread(target=keep_asking, args=(of,)) for of in (log, forked)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(chance.uniform(0.02, 0.4))
            running.started_again()
        stop.set()
        for thread in threads:
            thread.join(20)
        newest = memory.newest(running.folder, log.key.name)
    assert newest is not None
    after_the_fork = {id(of) for of, size in signed if size > 8}
    assert len(after_the_fork) <= 1
    assert open_checkpoint(newest, log.key).size >= max(size for _, size in signed)


def test_it_is_found_again_by_whoever_asks_through_a_liar_in_the_middle(tmp_path: Path, log: ToyLog) -> None:
    """Somebody between log and witness can hold back cosignatures, and make none."""
    with WitnessProcess(tmp_path / "witness", log.key) as running, running_lying_witness() as middle:
        answers: list[bytes] = []

        def passed_on(body: bytes) -> tuple[int, dict[str, str], bytes]:
            found = httpx.post(f"{running.url}/add-checkpoint", content=body)
            answers.append(found.content)
            return 200, {}, found.content.replace(b"A", b"B", 1) if len(answers) == 1 else found.content

        middle.answer = passed_on
        sink = HttpWitness(middle.url, [running.key], 20)
        with pytest.raises(SinkFailed, match="no cosignature"):
            sink.push(log.offer(10))
        assert HttpWitness(running.url, [running.key], 20).push(log.offer(10))
