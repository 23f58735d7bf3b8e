import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from faceseal import wire
from faceseal.wire import decode_base64url, encode_base64url

KEY_ID = "01890000-0000-7000-8000-000000000001"
GRANT_ID = "01890000-0000-7000-8000-00000000000a"
ZEROS = "A" * 43

# One valid instance of every message, as JSON.  What faceseal 0.1 sends, later versions must read.
EXAMPLES = {
    wire.CreateKey: {"recipient": ZEROS, "labels": {"album": "2026/summer"}},
    wire.KeyInfo: {
        "id": KEY_ID,
        "state": "active",
        "created_at": 1_700_000_000,
        "created_by": "anna",
        "labels": {},
        "sealed_digest": None,
        "destruction_due_at": 1_700_003_600,
    },
    wire.BindKey: {"sealed_digest": ZEROS, "perceptual_hash": "A" * 11},
    wire.NewKey: {"recipient": ZEROS, "labels": {}},
    wire.SealedKeys: {"recipient": ZEROS, "sealed_keys": "A" * 107},
    wire.RequestGrant: {
        "key_ids": [KEY_ID],
        "labels": {},
        "purpose_code": "court_order",
        "purpose": "court order",
        "reference": "17 O 4/26",
        "uses": 2,
        "valid_for": 3600,
        "not_before": 1_700_000_000,
    },
    wire.Approval: {"approver": "ben", "at": 1_700_000_000},
    wire.BreakGlass: {
        "recipient": ZEROS,
        "purpose_code": "medical_treatment",
        "purpose": "no time to ask",
        "reference": "ward 3",
    },
    wire.GrantPolicy: {
        "request_subjects": ["anna"],
        "request_roles": ["desk"],
        "purposes": ["court_order"],
        "quorum": 2,
        "longest_validity": 3600,
        "most_uses": 5,
        "approvals_expire": 86400,
        "break_glass_role": "emergency",
    },
    wire.Grant: {
        "id": GRANT_ID,
        "state": "approved",
        "key_ids": [KEY_ID],
        "purpose": "court order",
        "requested_by": "anna",
        "requested_at": 1_700_000_000,
        "valid_for": 3600,
        "uses_left": 2,
        "decided_by": "ben",
        "expires_at": 1_700_003_600,
        "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        "token": "a.b.c",
        "labels": {"album": "2026/summer"},
        "purpose_code": "court_order",
        "reference": "17 O 4/26",
        "not_before": 1_700_000_000,
        "quorum": 2,
        "approvals": [{"approver": "ben", "at": 1_700_000_000}],
        "policy_version": 3,
        "break_glass": False,
    },
    wire.Release: {"grant": "a.b.c", "recipient": ZEROS},
    wire.Receipt: {"leaf": "{}", "index": 0, "inclusion_proof": [ZEROS], "checkpoint": "log\n1\n"},
    wire.Checkpoint: {"checkpoint": "log\n1\n"},
    wire.Consistency: {"old_size": 1, "size": 2, "proof": [ZEROS]},
    wire.AuditEntry: {
        "index": 7,
        "leaf": "{}",
        "at": 1_700_000_000,
        "action": "grant.request",
        "outcome": "allowed",
        "personal": "opened",
        "actor": "anna",
        "pseudonym": GRANT_ID,
        "token_id": "t",
        "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        "key_ids": [KEY_ID],
        "grant_id": GRANT_ID,
        "recipient": ZEROS,
        "sealed_digest": ZEROS,
        "purpose_code": "court_order",
        "purpose": "court order",
        "reference": "17 O 4/26",
        "labels": {"album": "2026/summer"},
        "uses_left": 2,
        "about": KEY_ID,
        "reason": "scope_missing",
    },
}
EXAMPLES[wire.KeyCreated] = {"key": EXAMPLES[wire.KeyInfo], "sealed_key": "A" * 107}
EXAMPLES[wire.KeyPage] = {"keys": [EXAMPLES[wire.KeyInfo]], "next": "A" * 75}
EXAMPLES[wire.CreateKeys] = {"recipient": None, "keys": [EXAMPLES[wire.NewKey]]}
EXAMPLES[wire.KeysCreated] = {
    "created_at": 1_700_000_000,
    "key_ids": [KEY_ID],
    "sealed": [EXAMPLES[wire.SealedKeys]],
}
EXAMPLES[wire.KeyMatch] = {"key": EXAMPLES[wire.KeyInfo], "distance": 10}
EXAMPLES[wire.KeyMatches] = {"matches": [EXAMPLES[wire.KeyMatch]]}
EXAMPLES[wire.AuditPage] = {"entries": [EXAMPLES[wire.AuditEntry]], "next": "A" * 75, "first_kept": 500}
EXAMPLES[wire.PhotoHistory] = {
    "keys": [EXAMPLES[wire.KeyMatch]],
    "entries": [EXAMPLES[wire.AuditEntry]],
    "next": "A" * 75,
    "first_kept": 500,
}
EXAMPLES[wire.GrantPage] = {"grants": [EXAMPLES[wire.Grant]], "next": "A" * 75}
EXAMPLES[wire.PolicyInfo] = {"version": 3, "set_at": 1_700_000_000, "policy": EXAMPLES[wire.GrantPolicy]}
EXAMPLES[wire.WebhookMessage] = {
    "id": GRANT_ID,
    "event": "grant.released",
    "time": 1_700_000_000,
    "tenant": "default",
    "actor": "anna",
    "key_id": KEY_ID,
    "grant": EXAMPLES[wire.Grant],
}
EXAMPLES[wire.Released] = {"key_id": KEY_ID, "sealed_key": "A" * 107, "receipt": EXAMPLES[wire.Receipt]}
EXAMPLES[wire.GlassBroken] = {"grant": EXAMPLES[wire.Grant], "released": EXAMPLES[wire.Released]}
GRANT_DETAILS = {
    "labels",
    "purpose_code",
    "reference",
    "not_before",
    "quorum",
    "approvals",
    "policy_version",
    "break_glass",
}
ALWAYS_IN_ENTRIES = {"index", "leaf", "at", "action", "outcome", "personal", "actor"}
DEFAULTS = {
    wire.AuditEntry: wire.AuditEntry.model_fields.keys() - ALWAYS_IN_ENTRIES,
    wire.AuditPage: {"next", "first_kept"},
    wire.PhotoHistory: {"next", "first_kept"},
    wire.CreateKey: {"labels"},
    wire.NewKey: {"recipient", "labels"},
    wire.CreateKeys: {"recipient"},
    wire.KeyInfo: {"destruction_due_at"},
    wire.BindKey: {"perceptual_hash"},
    wire.KeyPage: {"next"},
    wire.RequestGrant: {"labels", "purpose_code", "purpose", "reference", "uses", "valid_for", "not_before"},
    wire.Grant: GRANT_DETAILS,
    wire.GrantPage: {"next"},
    wire.BreakGlass: {"purpose"},
    wire.GrantPolicy: set(wire.GrantPolicy.model_fields),
}
MODELS = pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)


def test_every_message_has_an_example():
    names = vars(wire).values()
    messages = {value for value in names if isinstance(value, type) and issubclass(value, wire.Message)}
    assert messages - {wire.Message} == set(EXAMPLES)


@MODELS
def test_a_message_survives_the_wire_byte_for_byte(model):
    text = json.dumps(EXAMPLES[model], separators=(",", ":"), ensure_ascii=False)
    assert model.model_validate_json(text).model_dump_json() == text


@MODELS
def test_an_unknown_field_is_refused(model):
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate_json(json.dumps(EXAMPLES[model] | {"surprise": 1}))


@MODELS
def test_no_field_is_coerced_from_another_type(model):
    for name, value in EXAMPLES[model].items():
        wrong = str(value) if isinstance(value, int) else 7
        with pytest.raises(ValidationError):
            model.model_validate_json(json.dumps(EXAMPLES[model] | {name: wrong}))


@MODELS
def test_a_message_cannot_be_changed(model):
    message = model.model_validate_json(json.dumps(EXAMPLES[model]))
    name = next(iter(EXAMPLES[model]))
    with pytest.raises(ValidationError):
        setattr(message, name, None)


def test_an_error_does_not_repeat_what_was_sent():
    with pytest.raises(ValidationError) as caught:
        wire.Release.model_validate_json('{"grant": 5, "recipient": "a-secret-thing"}')
    assert "a-secret-thing" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (wire.CreateKey, {"labels": {str(number): "x" for number in range(17)}}),
        (wire.CreateKey, {"labels": {"line\nbreak": "x"}}),
        (wire.CreateKey, {"labels": {"": "x"}}),
        (wire.CreateKey, {"labels": {"x" * 65: "x"}}),
        (wire.CreateKey, {"recipient": "A" * 42}),
        (wire.CreateKey, {"recipient": ZEROS + "="}),
        (wire.CreateKey, {"recipient": "A" * 42 + "B"}),
        (wire.CreateKey, {"recipient": "+" * 43}),
        (wire.CreateKey, {"recipient": "ä" * 43}),
        (wire.RequestGrant, {"key_ids": []}),
        (wire.RequestGrant, {"key_ids": [KEY_ID] * 101}),
        (wire.RequestGrant, {"key_ids": [KEY_ID.upper().replace("0189", "ABCD")]}),
        (wire.RequestGrant, {"key_ids": [KEY_ID.replace("-", "")]}),
        (wire.RequestGrant, {"purpose": ""}),
        (wire.RequestGrant, {"purpose": "x" * 201}),
        (wire.RequestGrant, {"purpose": "bell\x07"}),
        (wire.RequestGrant, {"purpose": "right-to-left\u202e"}),
        (wire.RequestGrant, {"uses": 0}),
        (wire.RequestGrant, {"uses": 1001}),
        (wire.RequestGrant, {"uses": True}),
        (wire.RequestGrant, {"uses": 1.0}),
        (wire.RequestGrant, {"valid_for": 0}),
        (wire.RequestGrant, {"valid_for": 90 * 86400 + 1}),
        (wire.Release, {"grant": ""}),
        (wire.Release, {"grant": "x" * 4097}),
        (wire.Release, {"known_size": -1}),
        (wire.Release, {"known_size": True}),
        (wire.BreakGlass, {"known_size": (1 << 53) + 1}),
        (wire.Receipt, {"consistency_proof": [ZEROS] * 65}),
        (wire.Consistency, {"proof": [ZEROS] * 65}),
        (wire.KeyInfo, {"created_at": -1}),
        (wire.KeyInfo, {"created_at": 1 << 50}),
        (wire.KeyInfo, {"state": "lost"}),
        (wire.Receipt, {"index": -1}),
        (wire.Receipt, {"inclusion_proof": [ZEROS] * 64}),
        (wire.Receipt, {"leaf": "x" * 16385}),
        (wire.Receipt, {"checkpoint": "x" * 4097}),
        (wire.KeyCreated, {"sealed_key": "A" * 106}),
        (wire.SealedKeys, {"sealed_keys": "A" * 106}),
        (wire.SealedKeys, {"sealed_keys": "A" * 64}),
        (wire.SealedKeys, {"sealed_keys": encode_base64url(bytes(48 + 32 * 1001))}),
        (wire.SealedKeys, {"sealed_keys": encode_base64url(bytes(48 + 32 + 1))}),
        (wire.CreateKeys, {"keys": []}),
        (wire.CreateKeys, {"keys": [{"recipient": ZEROS}] * 1001}),
        (wire.CreateKeys, {"keys": [{"recipient": ZEROS}, {}]}),
        (wire.KeysCreated, {"key_ids": [KEY_ID] * 1001}),
        (wire.KeyMatch, {"distance": 65}),
        (wire.BindKey, {"perceptual_hash": "A" * 10}),
        (wire.KeyPage, {"next": "A" * 201}),
        (wire.KeyPage, {"next": "a cursor"}),
    ],
)
def test_values_out_of_bounds_are_refused(model, change):
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps(EXAMPLES[model] | change))


def test_only_defaults_may_be_left_out():
    for model, example in EXAMPLES.items():
        for name in example:
            rest = json.dumps({key: value for key, value in example.items() if key != name})
            if name in DEFAULTS.get(model, set()):
                model.model_validate_json(rest)
            else:
                wrong = "either key_ids or labels" if name == "key_ids" and model is wire.RequestGrant else "required"
                with pytest.raises(ValidationError, match=wrong):
                    model.model_validate_json(rest)


def test_a_grant_is_asked_for_by_keys_or_by_labels_and_not_by_both():
    by_labels = {"labels": {"album": "summer"}, "purpose": "x"}
    assert wire.RequestGrant.model_validate_json(json.dumps(by_labels)).key_ids == []
    for wrong in ({}, {"key_ids": [KEY_ID], "labels": {"album": "summer"}}, {"key_ids": [], "labels": {}}):
        with pytest.raises(ValidationError, match="either key_ids or labels"):
            wire.RequestGrant.model_validate_json(json.dumps({"purpose": "x"} | wrong))


@pytest.mark.parametrize("code", list(wire.PurposeCode))
@pytest.mark.parametrize("model", [wire.RequestGrant, wire.BreakGlass])
def test_only_another_purpose_has_to_be_put_into_words(model, code):
    stated = EXAMPLES[model] | {"purpose_code": code.value, "purpose": None}
    if code is wire.PurposeCode.OTHER:
        with pytest.raises(ValidationError, match="say in purpose what for"):
            model.model_validate_json(json.dumps(stated))
    else:
        assert model.model_validate_json(json.dumps(stated)).purpose is None


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [(wire.Release, "known_size", 7), (wire.BreakGlass, "known_size", 0), (wire.Receipt, "consistency_proof", [])],
)
def test_what_older_versions_do_not_know_is_sent_only_if_there_is_something_to_say(model, name, value):
    silent = model.model_validate_json(json.dumps(EXAMPLES[model]))
    assert name not in json.loads(silent.model_dump_json())
    said = model.model_validate_json(json.dumps(EXAMPLES[model] | {name: value}))
    assert json.loads(said.model_dump_json())[name] == value


def test_what_the_first_version_sends_and_answers_is_still_understood():
    request = wire.RequestGrant.model_validate_json(json.dumps({"key_ids": [KEY_ID], "purpose": "court order"}))
    assert (request.purpose_code, request.purpose) == (wire.PurposeCode.OTHER, "court order")
    old = {name: value for name, value in EXAMPLES[wire.Grant].items() if name not in GRANT_DETAILS}
    grant = wire.Grant.model_validate_json(json.dumps(old))
    assert (grant.quorum, grant.approvals, grant.break_glass) == (1, [], False)


def test_binary_values_are_bytes_inside_and_base64url_outside():
    message = wire.BindKey(sealed_digest=bytes(32))
    assert message.sealed_digest == bytes(32)
    assert json.loads(message.model_dump_json()) == {"sealed_digest": ZEROS, "perceptual_hash": None}
    with pytest.raises(ValidationError):
        wire.BindKey(sealed_digest=bytes(31))


def test_identifiers_are_canonical_uuids():
    identifier = TypeAdapter(wire.Identifier)
    assert identifier.validate_json(f'"{KEY_ID}"') == UUID(KEY_ID)
    for text in (KEY_ID.replace("-", ""), f"{{{KEY_ID}}}", f"urn:uuid:{KEY_ID}", "g" * 36, "{" + KEY_ID[1:-1] + "}"):
        with pytest.raises(ValidationError):
            identifier.validate_json(json.dumps(text))


@given(st.binary(max_size=200))
def test_base64url_is_reversible(value):
    assert decode_base64url(encode_base64url(value)) == value


@given(st.text(alphabet="AZaz09-_+/= \n\u0661", max_size=12))
def test_base64url_is_canonical(text):
    try:
        value = decode_base64url(text)
    except ValueError:
        return
    assert encode_base64url(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xfb\xff", "-_8")]
)
def test_base64url_is_the_rfcs(value, text):
    # RFC 4648, section 10, without padding; the last one has the two characters that differ from base64.
    assert encode_base64url(value) == text
    assert decode_base64url(text) == value


LABELS = st.text("ab:/. -_", min_size=1, max_size=64)


@given(LABELS, LABELS)
def test_a_label_as_text_says_where_its_name_ends(name, value):
    assert wire.parse_label(wire.label_text(name, value)) == (name, value)


@pytest.mark.parametrize(
    "text", ["", "a", "a:", ":a", "a:b\n", "a\\:b", "a\0b:c", "ä:b", "a" * 65 + ":b", "a:" + "b" * 65]
)
def test_what_is_no_label_is_refused(text):
    with pytest.raises(ValueError, match="a label is"):
        wire.parse_label(text)


def test_keys_are_read_that_an_older_server_describes():
    older = {name: value for name, value in EXAMPLES[wire.KeyInfo].items() if name != "destruction_due_at"}
    assert wire.KeyInfo.model_validate_json(json.dumps(older)).destruction_due_at is None
