"""Many image keys in few round trips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal import wire
from faceseal.client.connection import Connection
from faceseal.client.request import protocol_request
from faceseal.errors import RequestRejected, ServerMisbehaved
from faceseal.imagekey import ImageKey
from faceseal.keytransport import batch_info, open_keys


def create_batches(connection: Connection, labels: Sequence[Mapping[str, str]], count: int) -> list[ImageKey]:
    """`count` new keys, in the order of their labels, 1,000 in a round trip.

    Raises RequestRejected unless there are labels for each key, and as `KeyServer` does.
    """
    if count < 1 or len(labels) != count:
        raise RequestRejected("at least one key can be created, and each takes labels of its own or all the same")
    keys: list[ImageKey] = []
    for start in range(0, count, wire.MOST_KEYS_AT_ONCE):
        keys += _create(connection, labels[start : start + wire.MOST_KEYS_AT_ONCE])
    return keys


def _create(connection: Connection, labels: Sequence[Mapping[str, str]]) -> list[ImageKey]:
    private = X25519PrivateKey.generate()
    recipient = private.public_key().public_bytes_raw()
    new = [protocol_request(wire.NewKey, labels=dict(each)) for each in labels]
    request = protocol_request(wire.CreateKeys, recipient=recipient, keys=new)
    answer = connection.send("POST", "/v1/keys/batch", request, 201, wire.KeysCreated)
    ids = answer.key_ids
    if (
        len(ids) != len(labels)
        or len(set(ids)) != len(ids)
        or [each.recipient for each in answer.sealed] != [recipient]
    ):
        raise ServerMisbehaved("the key server did not create the keys that were asked for; ask its operator")
    secrets = open_keys(answer.sealed[0].sealed_keys, private, batch_info(ids), len(ids))
    return [ImageKey(key_id, secret) for key_id, secret in zip(ids, secrets, strict=True)]
