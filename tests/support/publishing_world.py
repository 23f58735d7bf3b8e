"""Sinks, two true witnesses and publishers for tests of a world; the conftest has its fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lying_witness import LyingWitness, running_lying_witness

from faceseal.cosignature import WitnessKey
from keyserver.service.logtrust import LogTrust, Witnessing
from keyserver.service.publishing import Publisher
from keyserver.sinks.file import FileSink
from keyserver.sinks.http_witness import HttpWitness
from keyserver.sinks.sink import Sink
from keyserver.witness import memory
from keyserver.witness.cosigning import Witness

DOUBT = "urn:faceseal:problem:log-in-doubt"
NAMES = ("witness.example/w1", "witness.example/w2")


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


class Witnesses:
    """Two true witnesses on loopback, each of which can be taken away."""

    def __init__(self, world: Any, folder: Path, peers: Sequence[LyingWitness]) -> None:
        self.peers = peers
        self.keys: list[WitnessKey] = []
        self._true: list[Callable[[bytes], Any]] = []
        for name in NAMES:
            place = folder / name.rpartition("/")[2]
            identity = memory.create(place, name)
            self.keys.append(identity.key)
            witness = Witness(place, identity, [world.ports.signer.verifier_key], world.clock, lambda: 0.0)
            self._true.append(lambda body, witness=witness: _told(witness, body))
        for number in range(len(peers)):
            self.back(number)

    def back(self, number: int) -> None:
        self.peers[number].answer = self._true[number]

    def gone(self, number: int) -> None:
        self.peers[number].says(503)

    def sinks(self) -> list[Sink]:
        return [HttpWitness(peer.url, self.keys, 5) for peer in self.peers]


def _told(witness: Witness, body: bytes) -> tuple[int, dict[str, str], bytes]:
    answer = witness.add_checkpoint(body)
    return answer.status, {"Content-Type": answer.media_type}, answer.body.encode()


@pytest.fixture
def witnesses(world: Any, tmp_path: Path) -> Iterator[Witnesses]:
    with running_lying_witness() as first, running_lying_witness() as second:
        yield Witnesses(world, tmp_path, [first, second])


@pytest.fixture
def file(tmp_path: Path) -> FileSink:
    return FileSink(tmp_path / "kept")


@pytest.fixture
def publisher_of(world: Any, seconds: Seconds) -> Callable[..., Publisher]:
    def made(*sinks: Sink, **witnessing: Any) -> Publisher:
        world.ports.trust.witnessing = Witnessing(**witnessing)
        return Publisher(world.ports, sinks, 1, seconds)

    return made


def pushed(publisher: Publisher, seconds: Seconds, after: float = 120) -> None:
    """One round, when everything is due again, to its end."""
    seconds.now += after
    publisher.round()
    publisher.wait(20)


def size_of(world: Any) -> int:
    return len(world.leaves())


def problem_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("type", "")


def another_replica(world: Any) -> Any:
    """Ports of a replica that has seen nothing yet."""
    return replace(world.ports, trust=LogTrust(world.ports.trust.witnessing))
