"""The operator's file of issuers: what it may say, and that a mistake in it is named and never guessed at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faceseal.wire import Scope
from keyserver.errors import SetupError
from keyserver.tokens.issuers import IssuerConfig, parse_issuers, read_issuers
from keyserver.tokens.jws import Algorithm

GOOD: dict[str, Any] = {
    "issuer": "https://id.example/realms/main",
    "audience": "faceseal",
    "discovery": "openid",
    "algorithms": ["RS256", "ES256"],
    "tenant": {"fixed": "default"},
    "scopes": {"claim": "scope", "map": {"seal": ["keys:create"]}},
    "subject_prefix": "main:",
}


def parsed(*entries: dict[str, Any]) -> tuple[IssuerConfig, ...]:
    return parse_issuers(json.dumps(entries).encode())


def changed(**change: Any) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **change}.items() if value is not ...}


def test_a_file_says_everything_in_types_and_only_at_jwt_counts_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps([GOOD]))
    (issuer,) = read_issuers(path)
    assert issuer.algorithms == {Algorithm.RS256, Algorithm.ES256}
    assert issuer.scopes.map == {"seal": {Scope.KEYS_CREATE}}
    assert issuer.token_types == {"at+jwt"}


def test_no_issuers_is_a_file_as_well() -> None:
    assert parsed() == ()


@pytest.mark.parametrize(
    ("issuer", "discovery", "expected"),
    [
        ("https://id.example", "openid", "https://id.example/.well-known/openid-configuration"),
        ("https://id.example/", "openid", "https://id.example/.well-known/openid-configuration"),
        ("https://id.example/a/b", "openid", "https://id.example/a/b/.well-known/openid-configuration"),
        ("https://id.example", "oauth", "https://id.example/.well-known/oauth-authorization-server"),
        ("https://id.example:8443/a/b", "oauth", "https://id.example:8443/.well-known/oauth-authorization-server/a/b"),
        ("http://[::1]:80/a/", "oauth", "http://[::1]:80/.well-known/oauth-authorization-server/a"),
    ],
)
def test_the_metadata_is_where_its_specification_puts_it(issuer: str, discovery: str, expected: str) -> None:
    (config,) = parsed(changed(issuer=issuer, discovery=discovery))
    assert config.metadata_url == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example",
        "http://127.0.0.1.nip.example",
        "http://localhost.example",
        "http://127.0.0.1@id.example",
        "https://user:password@id.example",
        "https://@id.example",
        "https://",
        "https:///path",
        "//id.example",
        "id.example",
        "ftp://localhost",
        "file:///etc/passwd",
        "https://id.example/#",
        "https://id.example/#keys",
        "https://id.example:0",
        "https://id.example:99999",
        "https://id.example:x",
        "https://id.example/a b",
        "https://id.example\\@attacker.example",
        "https://id.exämple",
        "https://id.example/\n",
        "http://169.254.169.254/latest",
        "http://10.0.0.1",
        "",
        7,
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: object) -> None:
    for change in ({"issuer": url}, {"discovery": ..., "jwks_uri": url}):
        with pytest.raises(ValueError, match=r"0\.(issuer|jwks_uri)"):
            parsed(changed(**change))


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/k", "http://127.0.0.1/k", "http://[::1]/k", "https://a.b/k?v=1"]
)
def test_a_jwks_uri_may_be_on_loopback_or_have_a_query(url: str) -> None:
    assert parsed(changed(discovery=..., jwks_uri=url))[0].jwks_uri == url


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ...},
        {"issuer": "https://id.example?x=1"},
        {"issuer": "https://id.example/?"},
        {"issuer": "https://id.example/" + "a" * 200},
        {"audience": ...},
        {"audience": ""},
        {"audience": ["faceseal"]},
        {"discovery": ...},
        {"discovery": "https://id.example/.well-known/openid-configuration"},
        {"jwks_uri": "https://id.example/jwks"},
        {"algorithms": ...},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": ["HS256"]},
        {"algorithms": "RS256"},
        {"tenant": ...},
        {"tenant": {}},
        {"tenant": {"fixed": "default", "claim": "tenant"}},
        {"tenant": {"fixed": "Not A Name"}},
        {"tenant": {"fixed": "default", "among": ["default"]}},
        {"tenant": {"claim": "tenant", "among": []}},
        {"tenant": {"claim": []}},
        {"tenant": {"claim": ["a"] * 9}},
        {"tenant": {"default": "default"}},
        {"scopes": ...},
        {"scopes": {"claim": "scope", "map": {}}},
        {"scopes": {"claim": "scope"}},
        {"scopes": {"claim": "scope", "map": {"seal": ["keys:everything"]}}},
        {"scopes": {"claim": "scope", "map": {"seal": "keys:create"}}},
        {"token_types": []},
        {"token_types": [""]},
        {"token_types": "JWT"},
        {"subject_prefix": ...},
        {"subject_prefix": ""},
        {"subject_prefix": ":"},
        {"subject_prefix": "main"},
        {"subject_prefix": "a:b:"},
        {"subject_prefix": "Main:"},
        {"subject_prefix": "main:\n"},
        {"subject_prefix": "a" * 40 + ":"},
        {"leeway": 3600},
    ],
    ids=str,
)
def test_what_is_missing_unknown_or_of_another_kind_is_named_by_its_place(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^0\.?|0: "):
        parsed(changed(**change))


@pytest.mark.parametrize("name", ["issuer", "subject_prefix"])
def test_two_issuers_never_share_a_name_or_a_prefix(name: str) -> None:
    other = changed(issuer="https://other.example", subject_prefix="other:")
    assert len(parsed(GOOD, other)) == 2
    with pytest.raises(ValueError, match=f"two issuers have the {name}"):
        parsed(GOOD, other | {name: GOOD[name]})


@pytest.mark.parametrize(
    "document",
    [b"", b"{}", b"null", b"[[]]", b"[7]", b"[] []", b"[NaN]", b"\xff", b"[" * 100_000],
    ids=lambda d: ascii(d[:9]),
)
def test_a_document_that_is_no_list_of_issuers_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|list|tuple|array|0"):
        parse_issuers(document)


def test_a_member_that_is_there_twice_is_refused() -> None:
    twice = json.dumps([GOOD]).replace("{", '{"audience": "another", ', 1)
    with pytest.raises(ValueError, match="not strict JSON"):
        parse_issuers(twice.encode())


def test_a_file_that_is_missing_open_to_writers_or_wrong_is_one_line_for_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "issuers.json"
    with pytest.raises(SetupError, match="cannot read"):
        read_issuers(path)
    path.write_text(json.dumps([GOOD]))
    for mode in (0o666, 0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(SetupError, match="chmod go-w"):
            read_issuers(path)
    path.chmod(0o644)
    read_issuers(path)
    path.write_text(json.dumps([changed(audience=7)]))
    with pytest.raises(SetupError, match=r"issuers\.json: 0\.audience"):
        read_issuers(path)
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(SetupError, match="longer than"):
        read_issuers(path)
