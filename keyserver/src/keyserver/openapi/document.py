"""From the document that the framework makes to the one that the server shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from faceseal import wire
from keyserver.openapi.docstrings import Fields, field_docstrings
from keyserver.openapi.errors import MARK, error_responses
from keyserver.openapi.examples import ANSWERS, CONFLICTS, PARAMETERS, REQUESTS
from keyserver.openapi.headers import RESPONSE_HEADERS, headers_of
from keyserver.openapi.links import LINKS

Document = dict[str, Any]
DESCRIPTION = """\
The key server keeps wrapped image keys, decides on restore grants, and writes an audit log.

Every request to `/v1` names an access token: `Authorization: Bearer TOKEN`, or `Authorization: DPoP TOKEN` for a
token that is bound to a key (RFC 9449). A proof of the client's key in `DPoP` goes along with a bound token, and
with every request whose grant or release belongs to that key.

Binary values are unpadded base64url, times are whole seconds since 1970-01-01 UTC. Unknown members are refused.
Errors are problem documents (RFC 9457) whose `type` is stable. Denials look alike, whatever the reason.

Keys, ciphertexts, tokens and signatures in the examples are made up."""
TAGS = [
    {"name": "keys", "description": "Image keys: create, bind to a photo, find, suspend, destroy, release."},
    {"name": "grants", "description": "The right to have named keys released: request, approve, deny, revoke."},
    {"name": "policy", "description": "What a tenant's grants have to keep to."},
    {"name": "audit", "description": "The log of all decisions."},
    {"name": "health", "description": "For whoever starts and stops replicas. No token is needed."},
]
_METHODS = ("get", "put", "post")


def described(document: Document) -> Document:
    """The document with examples, headers, errors and links; `document` itself is used up."""
    document["info"]["description"] = DESCRIPTION
    document["tags"] = TAGS
    components = document["components"]
    components["headers"] = RESPONSE_HEADERS
    components["schemas"]["Problem"] = wire.Problem.model_json_schema()
    for left_over in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(left_over, None)
    docstrings = field_docstrings(wire)
    for name, schema in components["schemas"].items():
        _describe_fields(name, schema, docstrings)
    for operation in _operations(document):
        _describe(operation)
    return document


def _operations(document: Document) -> Iterator[Document]:
    return (item[method] for item in document["paths"].values() for method in _METHODS if method in item)


def _describe_fields(model: str, schema: Document, docstrings: Fields) -> None:
    for name, field in schema.get("properties", {}).items():
        if (model, name) in docstrings:
            text = docstrings[model, name]
            field["description"] = f"{text} {field['description']}" if "description" in field else text


def _describe(operation: Document) -> None:
    name, authenticated = operation["operationId"], "security" in operation
    for parameter in operation.get("parameters", []):
        _describe_parameter(parameter)
    if "requestBody" in operation:
        operation["requestBody"]["content"]["application/json"]["example"] = _plain(REQUESTS[name])
    details = {"conflict": CONFLICTS[name]} if name in CONFLICTS else {}
    if any(parameter["name"] == "grant_id" for parameter in operation.get("parameters", [])):
        details["not-found"] = "there is no such grant"
    if name == "get_checkpoint":
        details["not-found"] = "no checkpoint has been cosigned by enough witnesses"
    marked = operation["responses"]
    succeeded = {status: response for status, response in marked.items() if MARK not in response}
    for status, response in succeeded.items():
        response["headers"] = headers_of(int(status), authenticated)
        if status.startswith("2"):
            if name in ANSWERS:
                response["content"]["application/json"]["example"] = _plain(ANSWERS[name])
            if name in LINKS:
                response["links"] = LINKS[name]
    operation["responses"] = succeeded | error_responses(marked, details)


def _describe_parameter(parameter: Document) -> None:
    schema = parameter["schema"]
    if parameter["in"] == "query" and "anyOf" in schema:
        # There is no null in a query: what is not asked for is left out.
        kinds = [each for each in schema.pop("anyOf") if each != {"type": "null"}]
        parameter["schema"] = {**schema, **kinds[0]}
    if parameter["name"] in PARAMETERS:
        parameter["example"] = PARAMETERS[parameter["name"]]


def _plain(model: BaseModel) -> Any:
    return model.model_dump(mode="json")
