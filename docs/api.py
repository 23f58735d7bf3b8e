"""Writes docs/api.md from the OpenAPI document: `make api-docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keyserver.app import create_api
from keyserver.openapi.errors import PROBLEMS, ProblemKind

TARGET = Path(__file__).with_name("api.md")
BEGINNING = """\
# API of the key server

Written by `make api-docs` from the OpenAPI document, which a server shows at `/openapi.json`; change that, not this.
"""
USAGE = """\
## Asking

### Authentication

`/healthz`, `/readyz` and `/openapi.json` need no token. Every other request brings an access token, which has one of
the scopes that its operation names:

```
GET /v1/keys HTTP/1.1
Authorization: Bearer ACCESS_TOKEN
```

A token that is bound to a key (`cnf.jkt`) comes with the scheme `DPoP`, and a proof of that key in `DPoP`
(RFC 9449): a JWT that names the method (`htm`), the address without query (`htu`), the token (`ath`), a time (`iat`),
a number of its own (`jti`) and a nonce of the server's. Requesting a grant, releasing a key and breaking the glass
take a proof whatever the scheme, for a grant belongs to the key that requested it.

```
POST /v1/grants HTTP/1.1
Authorization: DPoP ACCESS_TOKEN
DPoP: PROOF
```

The first proof has no nonce yet: the answer is 401 with `WWW-Authenticate: DPoP error="use_dpop_nonce"` and a
`DPoP-Nonce`. Make another proof with that nonce, and send the same request again. Every later answer to a request
with a proof has a fresh nonce. A proof counts for one change; of reads it does not.

### Pages

Lists answer newest first, at most 100 at once. `next` is the cursor of the following page, or null: send it as
`cursor` with the same question. A cursor of another question, or of another tenant, is answered with 422.

### Idempotency keys

Every POST may carry `Idempotency-Key: "..."`. For 24 hours the same request (caller, path, body) under the same key
takes effect once and gets the same answer; so a client that lost an answer asks again. Each attempt takes a proof of
its own. Refusals are not kept.

### Limits

Bodies may have 64 KiB, those of `POST /v1/keys/batch` 1 MiB; operators set both, and the rates, which count by client
and by tenant (operating.md). Above a rate the answer is 429 with `Retry-After`, `RateLimit-Policy` and `RateLimit`.

### Values

Binary values are unpadded base64url, times whole seconds since 1970-01-01 UTC, ids UUIDs in lower case. Integers are
written without fraction and exponent. Members that are not known are refused.
"""


def reference(document: dict[str, Any]) -> str:
    """The whole text."""
    parts = [BEGINNING, document["info"]["description"].rpartition("\n\n")[0], "", USAGE, *_errors()]
    for tag in document["tags"]:
        parts += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if operation["tags"] == [tag["name"]]:
                    parts += _operation(f"{method.upper()} {path}", operation)
    parts += ["## Objects", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _object(name, schema)
    return "\n".join(parts).rstrip() + "\n"


def _errors() -> Iterator[str]:
    yield from ("## Errors", "", "| status | `type` | meaning |", "|---|---|---|")
    for problem in PROBLEMS:
        yield f"| {problem.status} | `{_type(problem)}` | {problem.meaning} |"
    yield from ("", "For example:", "", *_json(next(each for each in PROBLEMS if each.status == 404).example()), "")


def _type(problem: ProblemKind) -> str:
    return str(problem.example()["type"])


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {operation['summary']}", "", f"`{title}` (`{operation['operationId']}`)", "")
    yield from (operation["description"], "")
    own = [each for each in operation.get("parameters", []) if each["name"] != "X-Request-Id"]
    if own:
        yield from ("| parameter | in | | |", "|---|---|---|---|")
        for each in own:
            needed = "required" if each["required"] else ""
            meaning = each.get("description") or _type_of(each["schema"])
            yield f"| `{each['name']}` | {each['in']} | {needed} | {_cell(meaning)} |"
        yield ""
    if "requestBody" in operation:
        media = operation["requestBody"]["content"]["application/json"]
        yield from (f"Body: {_type_of(media['schema'])}", "", *_json(media["example"]), "")
    for status, response in operation["responses"].items():
        media = response.get("content", {}).get("application/json")
        if media is not None:
            yield from (f"Answer {status}: {_type_of(media['schema'])}", "")
            if "example" in media:
                yield from (*_json(media["example"]), "")
    yield from (f"Errors: {', '.join(_problems(operation))}.", "")


def _problems(operation: dict[str, Any]) -> Iterator[str]:
    for status, response in operation["responses"].items():
        kinds = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
        for kind in kinds:
            yield f"{status} `{kind}`"


def _object(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "", _text(schema.get("description", "")), "")
    if "enum" in schema:
        yield from (", ".join(f"`{each}`" for each in schema["enum"]) + ".", "")
        return
    yield from ("| member | | type | |", "|---|---|---|---|")
    required = schema.get("required", [])
    for member, field in schema.get("properties", {}).items():
        needed = "required" if member in required else ""
        yield f"| `{member}` | {needed} | {_type_of(field)} | {_cell(field.get('description', ''))} |"
    yield ""


def _type_of(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type_of(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema['items'])}"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type_of(schema['additionalProperties'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f", {low} to {high}" if low is not None and high is not None else ""
    return f"{schema.get('type', 'any')}{bounds}"


def _json(value: object) -> Iterator[str]:
    yield from ("```json", json.dumps(value, indent=2, ensure_ascii=False), "```")


def _text(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def main() -> None:
    """Writes the file; with --check, only says whether it is current."""
    text = reference(create_api().openapi())
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.read_text() == text else "docs/api.md is not current: make api-docs")
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
