"""Where one answer leads: OpenAPI's links, from what an operation answers to what may be asked next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faceseal.wire import encode_base64url
from keyserver.openapi.examples import RECIPIENT

Link = dict[str, Any]
_RECIPIENT = encode_base64url(RECIPIENT)


def _key(operation: str, description: str, where: str = "/id", body: object = None) -> Link:
    return _link(operation, description, {"key_id": f"$response.body#{where}"}, body)


def _grant(operation: str, description: str) -> Link:
    return _link(operation, description, {"grant_id": "$response.body#/id"})


def _link(operation: str, description: str, parameters: Mapping[str, str] | None = None, body: object = None) -> Link:
    link: Link = {"operationId": operation, "description": description}
    if parameters:
        link["parameters"] = dict(parameters)
    return link if body is None else {**link, "requestBody": body}


def _of_key(where: str) -> dict[str, Link]:
    """What can be done with a new key."""
    key_id = f"$response.body#{where}"
    return {
        "show": _key("get_key", "Show the key", where),
        "bind": _key("bind_key", "Bind the key to the photo that was sealed with it", where),
        "suspend": _key("suspend_key", "Suspend the key", where),
        "revoke": _key("revoke_key", "Suspend the key, by the older name", where),
        "schedule_destruction": _key("schedule_destruction", "Destroy the key after the waiting period", where),
        "break_glass": _key("break_glass", "Release the key in an emergency", where),
        "request_grant": _link(
            "request_grant",
            "Request a grant for the key",
            body={"key_ids": [key_id], "purpose": "correction of a published story"},
        ),
    }


_OF_GRANT = {
    "show": _grant("get_grant", "Show the grant, with its token once it is in force"),
    "approve": _grant("approve_grant", "Approve the grant, as somebody else"),
    "deny": _grant("deny_grant", "Deny the grant, as somebody else"),
    "revoke": _grant("revoke_grant", "End the grant"),
}
_RELEASE = _key(
    "release_key",
    "Release the first of the keys, once the grant is in force",
    "/key_ids/0",
    {"grant": "$response.body#/token", "recipient": _RECIPIENT},
)
_NEXT = {"cursor": "$response.body#/next"}

LINKS: Mapping[str, Mapping[str, Link]] = {
    "create_key": _of_key("/key/id"),
    "create_keys": _of_key("/key_ids/0"),
    "list_keys": {"next": _link("list_keys", "The following page, for the same question", _NEXT)},
    "list_grants": {"next": _link("list_grants", "The following page, for the same question", _NEXT)},
    "suspend_key": {"resume": _key("resume_key", "Resume the key")},
    "schedule_destruction": {"cancel": _key("cancel_destruction", "Keep the key")},
    "request_grant": {**_OF_GRANT, "release": _RELEASE},
    "get_grant": {"release": _RELEASE},
    "approve_grant": {"show": _OF_GRANT["show"], "revoke": _OF_GRANT["revoke"]},
}
"""By operation, on its answer if it succeeds."""
