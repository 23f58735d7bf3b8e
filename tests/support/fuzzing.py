"""Schemathesis over the whole document of a key server, as somebody with a token and a key of their own.

Every check that schemathesis has is on, in every phase: the document's examples, values at
the bounds of every schema, random valid and invalid requests, and chains of requests along
the document's links.

What OpenAPI has no words for is seen to in `Possible`, and nowhere else: there, values that
every schema allows are made ones that mean something now.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.config import ChecksConfig, SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext, unregister
from schemathesis.schemas import BaseSchema

REFUSALS = ChecksConfig().negative_data_rejection.expected_statuses
"""What schemathesis takes for a refusal of a wrong request."""
TO_BE_SIGNED = "to.be.signed"
LONGEST_CHAIN = 8
MOST_CHAININGS = 4
NOWHERE = "00000000-0000-4000-8000-000000000000"
PAGED = ("GET /v1/keys", "GET /v1/grants", "GET /v1/audit/entries", "GET /v1/audit/photo")
Sign = Callable[[str, str], dict[str, str]]
"""From a request's method and path to its headers: token and fresh proof."""


@dataclass
class Findings:
    """What a run found, and what it did."""

    failures: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    """How many, by phase."""
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many, by operation and status."""

    @property
    def succeeded(self) -> set[str]:
        """The operations that did what they are for at least once."""
        return {operation for operation, status in self.answers if status < 300}

    @property
    def never(self) -> set[str]:
        """Those that were tried, and never did."""
        return {operation for operation, _ in self.answers} - self.succeeded


class Signed(AuthBase):
    """Puts the token into each request as it is sent, and a fresh proof where one is to be."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        path = request.path_url.partition("?")[0]
        headers = self._sign(str(request.method), path)
        request.headers["Authorization"] = headers["Authorization"]
        if request.headers.get("DPoP") == TO_BE_SIGNED:
            request.headers["DPoP"] = headers["DPoP"]
        return request


def fuzz(app: Any, sign: Sign, now: int, *, seed: int, examples: int, chains: int, expected: int) -> Findings:
    """All phases on the app: so many random requests of each operation, and so many chains of requests.

    Chains are begun again with other seeds, `MOST_CHAININGS` times in all, until as many operations as expected have
    succeeded.

    Chains are run by themselves: with what the other phases learn from answers meanwhile, they
    are not the same when they are drawn again, and schemathesis then ends them without a word.
    """
    found, possible = Findings(), Possible(now)
    for begun in range(1 + MOST_CHAININGS):
        stateful = begun > 0
        if begun > 1 and len(found.succeeded) >= expected:
            break
        possible.in_chains = stateful
        phases = {
            "examples": {"enabled": not stateful},
            "coverage": {"enabled": not stateful},
            "fuzzing": {"enabled": not stateful},
            "stateful": {"enabled": stateful, "max-steps": LONGEST_CHAIN},
        }
        settings: dict[str, Any] = {
            "seed": seed + max(0, begun - 1),
            # A body that is wrong because it is too long may be refused for being too long.
            "checks": {"negative_data_rejection": {"expected-statuses": [*REFUSALS, "413"]}},
            "generation": {"max-examples": chains if stateful else examples, "database": "none"},
            "phases": phases,
            "continue-on-failure": True,
        }
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(settings))
        schema.auth.set_from_requests(Signed(sign))
        with _hooks(possible):
            _run(schema, found)
    return found


@contextmanager
def _hooks(possible: Possible) -> Iterator[None]:
    def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
        possible.before(case)

    def after_call(context: HookContext, case: Case, response: Response) -> None:
        possible.after(case, response)

    # These hooks exist for all schemas only.
    hooks = [schemathesis.hook(before_call), schemathesis.hook(after_call)]
    try:
        yield
    finally:
        for hook in hooks:
            unregister(hook)


def _run(schema: BaseSchema, found: Findings) -> None:
    for event in from_schema(schema).execute():
        if isinstance(event, FatalError):
            raise event.exception
        if isinstance(event, NonFatalError):
            found.failures.append(f"{event.label}: {event.info.format()}")
        if isinstance(event, ScenarioFinished):
            _add(found, event)


class Possible:
    """Makes a request that fits every schema one that is possible now, where OpenAPI has no words for the difference.

    What is negative on purpose stays as it is.
    """

    def __init__(self, now: int) -> None:
        self._now = now
        self.in_chains = False
        """There the links say what is asked for; a chain must be the same when it is drawn again."""
        self._numbers = itertools.count()
        self._questions: dict[str, dict[str, Any]] = {}
        """From the cursors that the server gave out to the queries that they continue."""
        self._grants: list[tuple[str, str]] = []
        """A key and a token each, of grants that came into force."""
        self._key: str | None = None
        self._grant: str | None = None
        self._scheduled: str | None = None
        """The newest key, the newest grant, and the key whose destruction was scheduled last."""

    def before(self, case: Case) -> None:
        """Before it is sent."""
        self._see_to_headers(case)
        for name, value in case.path_parameters.items():
            if value in (None, "None"):
                # Chains take ids also from entries of the log, where one that is about no grant says null.
                case.path_parameters[name] = NOWHERE
        if not self.in_chains and not _is_negative(case, ParameterLocation.PATH) and next(self._numbers) % 2:
            self._see_to_path(case)
        if not _is_negative(case, ParameterLocation.QUERY) and case.method == "GET":
            self._see_to_query(case)
        if not _is_negative(case, ParameterLocation.BODY) and isinstance(case.body, dict):
            self._see_to_body(case.body)
            if case.path.endswith("/release") and self._grants and not _is_negative(case, ParameterLocation.PATH):
                # Nobody but the server makes the token of a grant.
                case.path_parameters["key_id"], case.body["grant"] = self._grants.pop()

    def after(self, case: Case, response: Response) -> None:
        """Remembers what only the server makes."""
        if response.status_code == 201 and case.path == "/v1/keys":
            self._key = response.json()["key"]["id"]
        if response.status_code == 200 and case.path.endswith("/schedule-destruction"):
            self._scheduled = response.json()["id"]
        if response.status_code in (200, 201) and case.path in ("/v1/grants", "/v1/grants/{grant_id}"):
            grant = response.json()
            self._grant = grant.get("id", self._grant)
            if grant.get("token"):
                self._grants.append((grant["key_ids"][0], grant["token"]))
        if response.status_code == 200 and case.operation.label in PAGED:
            following = response.json()["next"]
            if following is not None:
                self._questions[following] = {name: value for name, value in case.query.items() if name != "cursor"}

    def _see_to_path(self, case: Case) -> None:
        # Every other time, for what is not there is to be asked for as well.
        if "grant_id" in case.path_parameters and self._grant is not None:
            case.path_parameters["grant_id"] = self._grant
        if case.path.endswith("/cancel-destruction") and self._scheduled is not None:
            case.path_parameters["key_id"] = self._scheduled

    def _see_to_headers(self, case: Case) -> None:
        takes_proof = any(parameter.name == "DPoP" for parameter in case.operation.iter_parameters())
        if takes_proof and not _is_spoiled(case, "DPoP"):
            # A proof is of one request at one moment.
            case.headers["DPoP"] = TO_BE_SIGNED
        if "Idempotency-Key" in case.headers and not _is_spoiled(case, "Idempotency-Key"):
            # One that was used for another request is refused, and random ones are often the same.
            case.headers["Idempotency-Key"] = f'"{next(self._numbers)}"'

    def _see_to_query(self, case: Case) -> None:
        cursor = case.query.get("cursor")
        if cursor in self._questions:
            # It continues one question, and no other.
            case.query = {**self._questions[cursor], "cursor": cursor}
        elif cursor is not None:
            # Nobody but the server makes one.
            del case.query["cursor"]
        if case.path.endswith("/photo"):
            # One of the three.
            names = ("key_id", "sealed_digest", "perceptual_hash")
            for name in [name for name in names if name in case.query][1:]:
                del case.query[name]
            if not case.query.keys() & set(names):
                case.query["perceptual_hash"] = "AAAAAAAAAAA"
        if case.path.endswith("/lookup"):
            # One of the two, not none and not both.
            if "sealed_digest" in case.query:
                case.query.pop("perceptual_hash", None)
            else:
                case.query.setdefault("perceptual_hash", "AAAAAAAAAAA")
        if case.path.endswith("/consistency"):
            # How many entries the log has, no schema says; every log has one.
            case.query = {"old_size": min(int(case.query.get("old_size", 0)), 1)}

    def _see_to_body(self, body: dict[str, Any]) -> None:
        for name, value in body.items():
            if isinstance(value, float) and value.is_integer():
                # For JSON Schema 2.0 is an integer; the server reads only what is written as one.
                body[name] = int(value)
        if body.get("key_ids") and self._key is not None:
            # Ids are made by the server; a grant for one that is not there is refused, and leads nowhere.
            body["key_ids"] = [self._key]
        if isinstance(body.get("not_before"), int):
            # At most a year ahead of a clock that the document does not know; grants are to be used here.
            body["not_before"] = min(body["not_before"], self._now)


def _is_negative(case: Case, where: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(where)


def _is_spoiled(case: Case, header: str) -> bool:
    """Whether the header is wrong, or missing, on purpose."""
    if case.meta is None:
        return False
    data = case.meta.phase.data
    return header in {data.parameter, *(mutation.parameter for mutation in data.mutations)}


def _add(found: Findings, event: ScenarioFinished) -> None:
    for case_id, interaction in event.recorder.interactions.items():
        found.requests[event.phase.value] += 1
        case = event.recorder.cases.get(case_id)
        if interaction.response is not None and case is not None:
            found.answers[case.value.operation.label, interaction.response.status_code] += 1
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                request = event.recorder.interactions[case_id].request
                found.failures.append(
                    f"{event.phase.value} {check.name}: {failure.operation}: {failure.title}: {failure.message}\n"
                    f"{request.method} {request.uri} {(request.body or b'')[:500]!r}"
                )
