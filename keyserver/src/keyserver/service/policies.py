"""Tenants' policies: read, and set in a new version by the operator."""

from __future__ import annotations

import hashlib

from pydantic import ValidationError
from sqlalchemy.orm import Session

from faceseal.wire import GrantPolicy, PolicyInfo
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.errors import NotFound
from keyserver.grant_policy import NO_POLICY
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.ports import Ports
from keyserver.store import policies, queries
from keyserver.tokens.strictjson import parse_json


def parse_policy(document: bytes) -> GrantPolicy:
    """The policy that a bounded JSON text states.  Raises ValueError that says where it is wrong."""
    parse_json(document)
    try:
        return GrantPolicy.model_validate_json(document)
    except ValidationError as cause:
        found = [f"{_place(each['loc'])}: {each['msg']}" for each in cause.errors()[:3]]
        raise ValueError("; ".join(found)) from None


def _place(where: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:64] for part in where) or "the whole file"


def policy_in_force(session: Session, tenant: str) -> PolicyInfo:
    """The policy for what is requested now, and its version."""
    row = policies.latest(session, tenant)
    if row is None:
        return PolicyInfo(version=0, set_at=None, policy=NO_POLICY)
    return PolicyInfo(version=row.version, set_at=row.set_at, policy=parse_policy(row.document.encode()))


def get_policy(ports: Ports, caller: Caller) -> PolicyInfo:
    """The caller's tenant's policy.  Raises AccessDenied, Unavailable."""
    with deciding(Attempt(ports, caller, Action.READ_POLICY, ports.clock()), writes=False) as session:
        return policy_in_force(session, caller.tenant)


def show_policy(ports: Ports, tenant: str) -> PolicyInfo:
    """A tenant's policy, for the operator.  Raises NotFound, StoreUnavailable."""
    with ports.database.reading() as session:
        if not queries.tenant_exists(session, tenant):
            raise NotFound(f"there is no tenant {tenant}")
        return policy_in_force(session, tenant)


def set_policy(ports: Ports, tenant: str, policy: GrantPolicy) -> int:
    """Let the policy hold for what is requested from now on; its version.

    The same policy again makes no new version.  Raises NotFound, StoreUnavailable.
    """
    now = ports.clock()
    document = policy.model_dump_json()
    with ports.database.writing() as session:
        # Locked: of two who set a policy at once, the second makes the version after the first one's.
        if not queries.tenants_for_change(session, tenant):
            raise NotFound(f"there is no tenant {tenant}")
        present = policy_in_force(session, tenant)
        if present.version and present.policy == policy:
            return present.version
        version = present.version + 1
        policies.add(session, tenant, version, document, now)
        entry = Entry(
            at=now,
            action=Action.SET_POLICY,
            outcome=Outcome.ALLOWED,
            actor=OPERATOR,
            tenant=tenant,
            policy_version=version,
            policy_digest=hashlib.sha256(document.encode()).digest(),
            quorum=policy.quorum,
        )
        audit.append(session, entry)
    return version
