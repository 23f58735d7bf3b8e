"""What the client asks when it searches grants, and what it makes of a server whose pages do not end."""

from itertools import islice
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from faceseal import wire
from faceseal.client import KeyServer
from faceseal.errors import RequestRejected, ServerMisbehaved

KEY = UUID("01890000-0000-7000-8000-000000000001")


def grant(number):
    return wire.Grant(
        id=UUID(int=number),
        state=wire.GrantState.PENDING,
        key_ids=[KEY],
        purpose="a test",
        requested_by="anna",
        requested_at=0,
        valid_for=60,
        uses_left=1,
        decided_by=None,
        expires_at=None,
        jkt=None,
        token=None,
    )


@pytest.fixture
def server(peer):
    with KeyServer(peer.url, token="t", timeout=5) as opened:
        yield opened


def query_of(request):
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def test_pages_are_asked_for_one_after_the_other_with_the_same_query(peer, server, http):
    pages = {None: (1, "two-x"), "two-x": (2, "three"), "three": (3, None)}

    def answer(request):
        number, cursor = pages[query_of(request).get("cursor")]
        yield http(200, wire.GrantPage(grants=[grant(number)], next=cursor))

    peer.script = answer
    found = server.search_grants(state=wire.GrantState.PENDING, requested_by="anna & co", key_id=KEY)
    assert [each.id.int for each in found] == [1, 2, 3]
    asked = [query_of(request) for request in peer.requests]
    assert [query.pop("cursor", None) for query in asked] == [None, "two-x", "three"]
    assert asked == [{"state": "pending", "requested_by": "anna & co", "key_id": str(KEY)}] * 3


def test_no_more_pages_are_asked_for_than_are_looked_at(peer, server, http):
    peer.script = lambda _: [http(200, wire.GrantPage(grants=[grant(1), grant(2)], next="more"))]
    assert len(list(islice(server.search_grants(), 2))) == 2
    assert len(peer.requests) == 1


def test_a_server_that_sends_the_same_page_for_ever_is_left(peer, server, http):
    peer.script = lambda _: [http(200, wire.GrantPage(grants=[], next="again"))]
    with pytest.raises(ServerMisbehaved, match="again and again"):
        list(server.search_grants())
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"purpose": "x"}, "either key_ids or labels"),
        ({"key_ids": [KEY], "labels": {"a": "b"}, "purpose": "x"}, "either key_ids or labels"),
        ({"key_ids": [KEY]}, "say in purpose what for"),
        ({"key_ids": [KEY], "purpose": "x", "reference": ""}, "reference"),
    ],
)
def test_a_request_that_is_not_complete_is_not_sent_and_says_why(peer, server, arguments, words):
    with pytest.raises(RequestRejected, match=words):
        server.request_grant(**arguments)
    assert peer.requests == []
