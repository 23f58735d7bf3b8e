"""A checkpoint as an object of S3, or of a store that speaks its protocol and knows conditional writes.

Region, credentials and endpoint come from where every AWS program takes them.  The identity
needs s3:GetObject and s3:PutObject on the object, and s3:ListBucket on the bucket, without
which a missing object looks like a forbidden one.  Versioning with object lock keeps also
whoever has these rights from taking an old checkpoint's place away.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from faceseal.cosignature import LONGEST_NOTE, Cosignature
from keyserver.errors import SetupError
from keyserver.sinks.sink import Offer, SinkFailed, read_held, require_continued

_SETTINGS = Config(
    connect_timeout=2,
    read_timeout=4,
    retries={"mode": "standard", "total_max_attempts": 2},
    # Other stores than AWS's do not know the newer checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_MOST_BYTES = 4 * LONGEST_NOTE
_TRIES = 3
_MISSING = {"NoSuchKey", "404"}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409", "NoSuchKey"}
# Below this level these libraries log requests with their headers.
_QUIET = ("botocore", "boto3")


class S3Sink:
    """Written only in the place of what was read (If-Match), so that no older checkpoint replaces a newer one."""

    keeps_notes = True

    def __init__(self, bucket: str, key: str) -> None:
        """Raises SetupError if AWS's own settings lack something."""
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.INFO)
        self.name = f"s3://{bucket}/{key}"
        self._object = {"Bucket": bucket, "Key": key}
        try:
            self._s3 = boto3.client("s3", config=_SETTINGS)
        except (BotoCoreError, ValueError) as cause:
            raise SetupError(f"S3 cannot be used as it is set ({type(cause).__name__})") from None

    def push(self, offer: Offer) -> Sequence[Cosignature]:
        """See `Sink`."""
        try:
            for _ in range(_TRIES):
                if self._pushed(offer):
                    return ()
        except (ClientError, BotoCoreError) as cause:
            raise SinkFailed(f"S3 failed ({_name(cause)})") from None
        raise SinkFailed("the object changes all the time")

    def held(self) -> bytes | None:
        """See `NoteSink`."""
        try:
            found = self._read()
        except (ClientError, BotoCoreError) as cause:
            raise SinkFailed(f"S3 failed ({_name(cause)})") from None
        return None if found is None else found[0]

    def _pushed(self, offer: Offer) -> bool:
        """False if the object changed between reading and writing."""
        found = self._read()
        condition = {"IfNoneMatch": "*"}
        if found is not None:
            content, tag = found
            held = read_held(content, offer)
            require_continued(held.checkpoint, offer)
            if held.checkpoint.size == offer.checkpoint.size:
                return True
            condition = {"IfMatch": tag}
        try:
            self._s3.put_object(
                **self._object, **condition, Body=offer.note.encode(), ContentType="text/plain; charset=utf-8"
            )
        except ClientError as cause:
            if _name(cause) in _CHANGED:
                return False
            raise
        return True

    def _read(self) -> tuple[bytes, str] | None:
        try:
            answer: Any = self._s3.get_object(**self._object)
        except ClientError as cause:
            if _name(cause) in _MISSING:
                return None
            raise
        with answer["Body"] as body:
            return body.read(_MOST_BYTES), str(answer["ETag"])


def _name(cause: ClientError | BotoCoreError) -> str:
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else type(cause).__name__
