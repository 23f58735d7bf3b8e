"""From the settings to the sinks: the only place that knows all kinds of them."""

from __future__ import annotations

from collections.abc import Sequence

from faceseal.cosignature import WitnessKey
from faceseal.errors import TransparencyError
from keyserver.errors import SetupError
from keyserver.service.logtrust import Witnessing
from keyserver.settings import Settings
from keyserver.sinks.addresses import object_of, path_of
from keyserver.sinks.file import FileSink
from keyserver.sinks.sink import Sink

ANSWER_SECONDS = 10
"""What witnesses are given to answer, and a replica to begin, beside the looks at the log."""


def open_sinks(settings: Settings, witnessing: Witnessing) -> Sequence[Sink]:
    """All sinks that the settings name.  Asks none of them.  Raises SetupError."""
    if len(set(settings.checkpoint_sinks)) < len(settings.checkpoint_sinks):
        raise SetupError("KEYSERVER_CHECKPOINT_SINKS names a sink twice")
    witnessed = any(not url.startswith(("file:", "s3:")) for url in settings.checkpoint_sinks)
    if settings.checkpoint_unwitnessed_seconds is not None and not witnessed:
        raise SetupError("KEYSERVER_CHECKPOINT_UNWITNESSED_SECONDS needs a witness in KEYSERVER_CHECKPOINT_SINKS")
    _require_time(settings)
    return [_opened(url, witnessing) for url in settings.checkpoint_sinks]


def witnessing_of(settings: Settings) -> Witnessing:
    """Whose cosignatures count, and how many.  Raises SetupError."""
    try:
        keys = tuple(dict.fromkeys(WitnessKey.parse(text) for text in settings.checkpoint_witnesses))
    except TransparencyError as cause:
        raise SetupError(f"KEYSERVER_CHECKPOINT_WITNESSES: {cause}") from None
    if len({key.public for key in keys}) < len(keys):
        # Signatures do not name who made them: one witness would count as two.
        raise SetupError("KEYSERVER_CHECKPOINT_WITNESSES has one key under two names")
    limit = settings.checkpoint_unwitnessed_seconds
    if settings.checkpoint_quorum > len(keys) and (keys or limit is not None):
        raise SetupError("KEYSERVER_CHECKPOINT_QUORUM is more than there are KEYSERVER_CHECKPOINT_WITNESSES")
    return Witnessing(keys, settings.checkpoint_quorum, limit)


def _require_time(settings: Settings) -> None:
    limit = settings.checkpoint_unwitnessed_seconds
    # An entry waits a look for its push, and a witness that has failed once for two more.
    least = 3 * settings.checkpoint_push_seconds + ANSWER_SECONDS
    if limit is not None and limit < least:
        raise SetupError(
            "KEYSERVER_CHECKPOINT_UNWITNESSED_SECONDS must be at least three times "
            f"KEYSERVER_CHECKPOINT_PUSH_SECONDS and {ANSWER_SECONDS} seconds: {least:g}"
        )


def _opened(url: str, witnessing: Witnessing) -> Sink:
    scheme = url.partition(":")[0]
    if scheme == "file":
        return FileSink(path_of(url))
    if scheme == "s3":
        try:
            from keyserver.sinks.s3_object import S3Sink
        except ImportError:
            raise SetupError("a sink in S3 needs a library: pip install 'faceseal-keyserver[s3]'") from None
        return S3Sink(*object_of(url))
    if not witnessing.keys:
        raise SetupError(f"what {url} cosigns counts only with its key in KEYSERVER_CHECKPOINT_WITNESSES")
    # Imported here: without witnesses no HTTP client is loaded.
    from keyserver.sinks.http_witness import HttpWitness

    return HttpWitness(url, witnessing.keys)
