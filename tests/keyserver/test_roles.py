"""Roles in tokens: of the built-in issuer as they were issued, of others as the operator maps them."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.wire import Scope
from keyserver.tokens import BuiltinIssuer, TokenRefused
from keyserver.tokens.issuers import RoleRule, parse_issuers
from keyserver.tokens.oidc import roles_of
from keyserver.tokens.signingkeys import SigningKeys

NOW = 1_800_000_000
KEYS = SigningKeys(Ed25519PrivateKey.generate())
BUILTIN = BuiltinIssuer(lambda: KEYS, "faceseal-keyserver", "faceseal-keyserver")
ENTRY: dict[str, Any] = {
    "issuer": "https://id.example",
    "audience": "faceseal",
    "discovery": "openid",
    "algorithms": ["ES256"],
    "tenant": {"fixed": "default"},
    "scopes": {"claim": "scope", "map": {"seal": ["keys:create"]}},
    "subject_prefix": "main:",
}


def rule(**change: Any) -> RoleRule | None:
    roles = {"claim": ["realm", "groups"], "map": {"/on-call": ["emergency"], "desk": ["desk", "night"]}, **change}
    (config,) = parse_issuers(json.dumps([{**ENTRY, "roles": roles}]).encode())
    return config.roles


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"emergency"}), frozenset({"a", "b:c", "D/1"})])
def test_a_token_of_the_builtin_issuer_carries_its_roles(roles: frozenset[str]) -> None:
    token = BUILTIN.issue_access("alice", "default", frozenset({Scope.KEYS_RELEASE}), uuid4(), NOW, 60, roles=roles)
    assert BUILTIN.verify_access(token, NOW).caller().roles == roles


@pytest.mark.parametrize("role", ["", " ", "two words", "x" * 65, "ä", "a\n"])
def test_what_is_no_role_is_not_issued(role: str) -> None:
    with pytest.raises(ValueError, match="roles"):
        BUILTIN.issue_access("a", "default", frozenset({Scope.KEYS_RELEASE}), uuid4(), NOW, 60, roles=frozenset({role}))


def test_too_many_roles_are_not_issued() -> None:
    roles = frozenset(str(number) for number in range(21))
    with pytest.raises(ValueError, match="roles"):
        BUILTIN.issue_access("alice", "default", frozenset({Scope.KEYS_RELEASE}), uuid4(), NOW, 60, roles=roles)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, set()),
        ({"realm": {}}, set()),
        ({"realm": {"groups": []}}, set()),
        ({"realm": {"groups": ["desk"]}}, {"desk", "night"}),
        ({"realm": {"groups": "desk /on-call"}}, {"desk", "night", "emergency"}),
        ({"realm": {"groups": ["/on-call", "unknown"]}}, {"emergency"}),
        # What another claim, or the token itself, calls a role is none.
        ({"realm": {"groups": ["emergency", "night"]}}, set()),
        ({"roles": ["emergency"], "groups": ["/on-call"]}, set()),
        ({"realm": "desk"}, set()),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
def test_roles_of_other_issuers_are_what_the_operators_map_makes_of_one_claim(
    payload: dict[str, object], expected: set[str]
) -> None:
    assert roles_of(payload, rule()) == expected
    assert roles_of(payload, None) == frozenset()


@pytest.mark.parametrize("groups", [1, {"desk": True}, ["desk", 1], True], ids=str)
def test_a_claim_of_another_kind_refuses_the_token(groups: object) -> None:
    with pytest.raises(TokenRefused):
        roles_of({"realm": {"groups": groups}}, rule())


@pytest.mark.parametrize(
    "change",
    [{"map": {}}, {"map": {"desk": ["two words"]}}, {"map": {"desk": "desk"}}, {"claim": []}, {"extra": 1}],
    ids=str,
)
def test_the_operators_map_of_roles_is_parsed_strictly(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="roles"):
        rule(**change)
