"""Witnesses that take longer to answer than the log takes to grow, and still make a quorum."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from publishing_world import Seconds

from faceseal.cosignature import Cosignature, WitnessKey, cosign, cosignatures, text_of
from faceseal.translog import open_checkpoint
from keyserver.service.publishing import Publisher
from keyserver.sinks.sink import Offer, SinkAhead, SinkFailed

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""


class Slow:
    """Answers when it is told to; a true witness otherwise."""

    keeps_notes = False

    def __init__(self, name: str) -> None:
        self.name = f"https://{name}"
        self._private = Ed25519PrivateKey.generate()
        self.key = WitnessKey(name, self._private.public_key().public_bytes_raw())
        self.sizes: list[int] = []
        self.fails = False
        self._may_answer = threading.Semaphore(0)

    def push(self, offer: Offer) -> Sequence[Cosignature]:
        assert self._may_answer.acquire(timeout=30)
        if self.fails:
            raise SinkFailed("no")
        if self.sizes and offer.checkpoint.size < self.sizes[-1]:
            raise SinkAhead(self.sizes[-1])
        self.sizes.append(offer.checkpoint.size)
        text = text_of(offer.note)
        return cosignatures(text, [cosign(text, self._private, self.key.name, 1_700_000_000)], [self.key])

    def answers(self, publisher: Publisher) -> None:
        """What it is asked at this moment, to the end; nothing if it is not."""
        (channel,) = [each for each in publisher._channels if each.sink is self]
        if channel.is_asking:
            self._may_answer.release()
            channel.join(20)


def out_of_step(alice: Any, publisher: Publisher, seconds: Seconds, first: Slow, second: Slow) -> None:
    """The second one fails once, so that from then on it is asked while the first one answers."""
    publisher.round()
    second.fails = True
    second.answers(publisher)
    second.fails = False
    first.answers(publisher)
    alice.create_key()
    seconds.now += 1
    publisher.round()
    alice.create_key()
    seconds.now += 1
    publisher.round()


def witnessed(world: Any, alice: Any) -> int:
    answer = alice.get("/v1/audit/checkpoint?witnessed=true")
    if answer.status_code == 404:
        return 0
    return open_checkpoint(answer.json()["checkpoint"], world.ports.signer.verifier_key).size


def test_two_witnesses_out_of_step_cosign_the_same_checkpoints_of_a_log_that_never_rests(
    world: Any, alice: Any, publisher_of: Any, seconds: Seconds
) -> None:
    first, second = Slow("w1.example"), Slow("w2.example")
    publisher = publisher_of(first, second, keys=(first.key, second.key), quorum=2)
    out_of_step(alice, publisher, seconds, first, second)
    sizes = set()
    for number in range(12):
        (second if number % 2 else first).answers(publisher)
        alice.create_key()
        seconds.now += 1
        publisher.round()
        sizes.add(witnessed(world, alice))
    assert len(sizes) > 4
    for each in (first, second):
        each.answers(publisher)


def test_where_one_witness_is_enough_the_other_holds_nothing_up(
    world: Any, alice: Any, publisher_of: Any, seconds: Seconds
) -> None:
    quick, hanging = Slow("w1.example"), Slow("w2.example")
    publisher = publisher_of(quick, hanging, keys=(quick.key, hanging.key), quorum=1)
    for _ in range(4):
        alice.create_key()
        seconds.now += 1
        publisher.round()
        quick.answers(publisher)
        assert witnessed(world, alice) == quick.sizes[-1]
    assert len(set(quick.sizes)) == 4
    hanging.answers(publisher)


def test_a_witness_that_has_more_from_another_replica_is_not_asked_again_for_less(
    world: Any, alice: Any, publisher_of: Any, seconds: Seconds
) -> None:
    first, second = Slow("w1.example"), Slow("w2.example")
    publisher = publisher_of(first, second, keys=(first.key, second.key), quorum=2)
    publisher.round()
    alice.create_key()
    # Another replica was quicker with the first, which is then offered what there is by now.
    first.sizes.append(len(world.leaves()))
    first._may_answer.release()
    first.answers(publisher)
    assert first.sizes == [len(world.leaves())] * 2
    alice.create_key()
    seconds.now += 1
    publisher.round()
    assert [each.is_asking for each in publisher._channels] == [False, True]
    second.answers(publisher)
    assert witnessed(world, alice) == 0
    seconds.now += 1
    publisher.round()
    for each in (first, second):
        each.answers(publisher)
    assert witnessed(world, alice) == len(world.leaves())
    assert world.ports.trust.doubts() == {}
