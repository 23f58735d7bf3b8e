"""Which spellings of a URL are one resource (RFC 3986, section 6.2), and which are not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyserver.tokens.targeturl import normalized_url

UNRESERVED = "ABCXYZabcxyz0189._~-"
RESERVED = "!$&'()*+,;=:@"


@st.composite
def canonical_urls(draw: Any) -> tuple[str, str, str, list[str]]:
    """Scheme, host, port (empty: the default one) and segments of a URL that is normal already."""
    scheme = draw(st.sampled_from(["https", "http"]))
    names = st.text("abcxyz09-_", min_size=1, max_size=5)
    host = draw(
        st.one_of(st.lists(names, min_size=1, max_size=3).map(".".join), st.sampled_from(["127.0.0.1", "[::1]"]))
    )
    default = {"https": "443", "http": "80"}[scheme]
    port = draw(st.one_of(st.just(""), st.integers(1, 65535).map(str).filter(lambda number: number != default)))
    escape = st.sampled_from(["%2F", "%3F", "%23", "%25", "%00", "%C3%A9", "%5C", "%3A"])
    characters = st.one_of(st.sampled_from(UNRESERVED), st.sampled_from(RESERVED), escape)
    segment = st.lists(characters, max_size=5).map("".join).filter(lambda text: text not in (".", ".."))
    return scheme, host, port, draw(st.lists(segment, min_size=1, max_size=4))


def joined(scheme: str, host: str, port: str, segments: list[str]) -> str:
    return f"{scheme}://{host}{':' if port else ''}{port}/{'/'.join(segments)}"


def respelled(draw: Any, parts: tuple[str, str, str, list[str]]) -> str:
    """The same resource, spelled in another way."""
    scheme, host, port, segments = parts

    def any_case(text: str) -> str:
        return "".join(draw(st.sampled_from([each.lower(), each.upper()])) for each in text)

    def escaped(segment: str) -> str:
        spelled, rest = "", segment
        while rest:
            if rest[0] == "%":
                spelled, rest = spelled + any_case(rest[:3]), rest[3:]
            else:
                escape = rest[0] in UNRESERVED and draw(st.booleans())
                spelled, rest = spelled + (any_case(f"%{ord(rest[0]):02x}") if escape else rest[0]), rest[1:]
        return spelled

    default = {"https": "443", "http": "80"}[scheme]
    ports = [f":{port}"] if port else ["", ":", f":{default}"]
    path = ""
    for segment in segments:
        detours = ["", "/.", "/%2e", "/x/..", "/x/%2E.", "/x/y/../.%2e"]
        path += draw(st.sampled_from(detours)) + "/" + escaped(segment)
    tail = draw(st.sampled_from(["", "?", "?a=/../b", "#", "#x", "?a#b?c", "?https://other.example/"]))
    spellings = [path]
    if segments[-1] == "":
        spellings += [path + ".", path + "x/.."]
    if segments == [""]:
        spellings.append("")
    return (
        f"{any_case(scheme)}://{any_case(host)}{draw(st.sampled_from(ports))}{draw(st.sampled_from(spellings))}{tail}"
    )


@settings(deadline=None, max_examples=300)
@given(st.data(), canonical_urls())
def test_every_spelling_of_a_resource_is_normalized_to_the_same(
    data: Any, parts: tuple[str, str, str, list[str]]
) -> None:
    canonical = joined(*parts)
    assert normalized_url(canonical) == canonical
    assert normalized_url(respelled(data.draw, parts)) == canonical


@settings(deadline=None, max_examples=150)
@given(st.data(), canonical_urls(), canonical_urls())
def test_different_resources_stay_different_however_they_are_spelled(data: Any, one: Any, other: Any) -> None:
    mixed = tuple(data.draw(st.sampled_from(pair)) for pair in zip(one, other, strict=True))
    if mixed[0] != one[0] and mixed[2] in ("80", "443"):
        return
    same = joined(*mixed) == joined(*one)
    assert (normalized_url(respelled(data.draw, mixed)) == normalized_url(respelled(data.draw, one))) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x", "https://a.example/x/"),
        ("https://a.example/x", "https://a.example/X"),
        ("https://a.example/x", "https://a.example//x"),
        ("https://a.example/x/y", "https://a.example/x%2Fy"),
        ("https://a.example/x", "https://a.example/x%3Fy"),
        ("https://a.example/x", "https://a.example/x%23"),
        ("https://a.example/x", "https://a.example/x%00"),
        ("https://a.example/+", "https://a.example/%2B"),
        ("https://a.example/%2541", "https://a.example/%41"),
        ("https://a.example/%252e%252e/x", "https://a.example/x"),
        ("https://a.example/", "https://a.example./"),
        ("https://a.example/", "https://a.example:80/"),
        ("http://a.example/", "http://a.example:443/"),
        ("https://[::1]/", "https://[::2]/"),
    ],
)
def test_these_are_two_resources(one: str, other: str) -> None:
    assert normalized_url(one) != normalized_url(other)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://A.Example", "https://a.example/"),
        ("https://a.example?x", "https://a.example/"),
        ("https://a.example#x", "https://a.example/"),
        ("https://a.example/../../x", "https://a.example/x"),
        ("https://a.example/x/y/../..", "https://a.example/"),
        ("https://a.example/a/b/c/./../../g", "https://a.example/a/g"),
        ("https://a.example/a//../b", "https://a.example/a/b"),
        ("https://a.example/...", "https://a.example/..."),
        ("https://[0:0:0:0:0:0:0:1]:443/", "https://[::1]/"),
        ("https://[2001:DB8::0:1]/", "https://[2001:db8::1]/"),
    ],
)
def test_these_are_the_normal_forms(url: str, normal: str) -> None:
    assert normalized_url(url) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "a.example/x",
        "//a.example/x",
        "https:/a.example/x",
        "https:///x",
        "ftp://a.example/x",
        "httpsx://a.example/x",
        "https://user@a.example/x",
        "https://a.example@b.example/x",
        "https://user:password@a.example/x",
        "https://a.example\\@b.example/x",
        "https://a.example\\x",
        "https://a.example/x y",
        "https://a.example/\tx",
        "https://a.example/x\n",
        " https://a.example/x",
        "https://a.example/%",
        "https://a.example/%2",
        "https://a.example/%zz",
        "https://a%2eexample/x",
        "https://a.example/é",
        "https://é.example/",
        "https://\u212a.example/",
        "http\u017f://a.example/",
        "https://a.example:0/",
        "https://a.example:0443/",
        "https://a.example:65536/",
        "https://a.example:999999/",
        "https://a.example:x/",
        "https://a.example:٤٤٣/",
        "https://[::1/",
        "https://[]/",
        "https://[1:2]/",
        "https://[fe80::1%25eth0]/",
        "https://a.example/?é",
        "https://a.example/" + "x" * 2048,
    ],
    ids=ascii,
)
def test_what_cannot_be_compared_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        normalized_url(url)
