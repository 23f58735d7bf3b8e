"""Exported logs in the hands of whoever would like them to say something else."""

import base64
import json
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from made_log import KEY, MadeLog, leaf, made_log, written

from faceseal.errors import TransparencyError
from faceseal.translog import EMPTY_ROOT, Checkpoint, sign_checkpoint, verify_export
from faceseal.translog.exportformat import Header, Tile, parse_tile, tile_line

SIZE = 600
LOG_OF_600 = made_log(SIZE)
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def refused(path, lines, since=None):
    """The words with which the file is refused."""
    with pytest.raises(TransparencyError) as caught:
        verify_export(written(path, lines), KEY, since)
    return str(caught.value)


def place(lines, index):
    """Where entry `index` stands in the file."""
    return lines.index(LOG_OF_600.leaves[index] + b"\n")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


@pytest.fixture
def lines():
    return LOG_OF_600.export()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 600])
def test_an_honest_export_of_any_size_is_proved_in_both_versions(path, size):
    made = made_log(size)
    for lines in (made.export(), made.plain_export()):
        verified = verify_export(written(path, lines), KEY)
        assert (verified.size, verified.first, sum(verified.events.values())) == (size, 0, size)
    if size:
        assert (verified.earliest, verified.latest) == (1_800_000_000, 1_800_000_000 + size - 1)
        assert verified.events == {"key.create.allowed": size}


def test_a_log_with_three_levels_of_tiles_is_proved(path):
    made = made_log(66_000, lambda index: b'{"index":%d}' % index)
    assert verify_export(written(path, made.export()), KEY).size == 66_000
    assert verify_export(written(path, made.export(first=65_000)), KEY).first == 65_000
    since = made.checkpoint(65_700)
    assert verify_export(written(path, made.export()), KEY, since).since == since
    wrong = made.export()
    at = wrong.index(b'{"index":65900}\n')
    wrong[at] = b'{"index":65901}\n'
    assert refused(path, wrong) == "where entry 65900 must be, the file has entry 65901"


def test_hashes_take_less_than_a_third_of_what_small_entries_take(lines):
    assert sum(map(len, lines)) < 1.35 * sum(len(each) + 1 for each in made_log(SIZE, leaf_of_usual_length).leaves)


def leaf_of_usual_length(index):
    return leaf(index, "a" * 300)


# What is wrong is named.


@pytest.mark.parametrize("index", [0, 5, 255, 256, 511, 599])
def test_the_entry_that_was_altered_dropped_doubled_swapped_inserted_or_cut_off_is_named(path, lines, index):
    at = place(lines, index)
    altered = lines[at].replace(b"anna", b"otto")
    assert refused(path, [*lines[:at], altered, *lines[at + 1 :]]) == (
        f"entry {index} was altered: it is not what the log's key has signed"
    )
    words = refused(path, [*lines[:at], *lines[at + 1 :]])
    follows = {255: "entry 255 is missing", 511: "entry 511 is missing", 599: "the export ends before entry 599 of 600"}
    assert follows.get(index, f"where entry {index} must be, the file has entry {index + 1}") in words
    doubled = [*lines[: at + 1], lines[at], *lines[at + 1 :]]
    # Behind the last entry of a tile, there must be the next tile.
    follows = {255: "the hashes of entries 256 to 511", 511: "the hashes of entries 512 to 599"}
    end = "entry 600 is not covered by the checkpoint of 600" if index == 599 else ""
    assert (follows.get(index) or end or f"where entry {index + 1} must be, the file has entry {index}") in refused(
        path, doubled
    )
    inserted = [*lines[:at], leaf(index, "otto") + b"\n", *lines[at:]]
    assert refused(path, inserted) == f"before entry {index} there is a line that is no entry of the log"
    cut = [*lines[:at], lines[at][:-7]]
    assert refused(path, cut) == f"entry {index} is cut off or longer than 65536 bytes"
    assert refused(path, lines[:at]) == f"the export ends before entry {index} of 600"


@pytest.mark.parametrize(("one", "other"), [(0, 1), (3, 200), (254, 255), (300, 511), (512, 599)])
def test_of_two_swapped_entries_the_first_is_named(path, lines, one, other):
    first, second = place(lines, one), place(lines, other)
    lines[first], lines[second] = lines[second], lines[first]
    assert refused(path, lines) == f"where entry {one} must be, the file has entry {other}"


def test_a_renumbered_entry_is_an_altered_one(path, lines):
    at = place(lines, 300)
    del lines[at : at + 2]
    lines.insert(at, leaf(300, "otto") + b"\n")
    assert refused(path, lines) == "entry 300 was altered: it is not what the log's key has signed"


def test_if_an_entrys_hash_was_rewritten_along_with_it_the_range_is_named(path, lines):
    forged = MadeLog([*LOG_OF_600.leaves[:300], leaf(300, "otto"), *LOG_OF_600.leaves[301:]]).export()
    leaves = b'"level":0'
    both = [theirs if leaves in theirs else ours for ours, theirs in zip(lines, forged, strict=True)]
    both[place(lines, 300)] = leaf(300, "otto") + b"\n"
    assert "the hashes of entries 256 to 511 are not those of the signed log" in refused(path, both)


def test_if_everything_but_the_root_was_rewritten_the_range_is_what_an_older_checkpoint_leaves(path):
    forged = MadeLog([*LOG_OF_600.leaves[:300], leaf(300, "otto"), *LOG_OF_600.leaves[301:]])
    head = Header.parse(forged.export()[0].rstrip())
    lines = [Header(LOG_OF_600.note(), 2, 0, head.edge).line() + b"\n", *forged.export()[1:]]
    words = refused(path, lines)
    assert "entries 0 to 599 fit the file's hashes, but these do not add up to the signed root" in words
    assert "one of entries 300 to 599" in refused(path, lines, LOG_OF_600.checkpoint(300))
    assert "does not continue the older checkpoint" in refused(path, lines, LOG_OF_600.checkpoint(301))
    plain = [LOG_OF_600.plain_export()[0], *forged.plain_export()[1:]]
    assert "at least one was rewritten" in refused(path, plain)
    assert "one of entries 300 to 599" in refused(path, plain, LOG_OF_600.checkpoint(300))


def test_what_the_log_itself_signed_although_it_is_no_entry_is_refused(path):
    for wrong, words in ((b'{"index": 1}', "entry 1 is not canonical"), (leaf(7), "where entry 1 must be")):
        made = MadeLog([leaf(0), wrong, leaf(2)])
        for lines in (made.export(), made.plain_export()):
            assert words in refused(path, lines)


# Where exports begin, and what they continue.


@pytest.mark.parametrize("first", [1, 100, 255, 256, 300, 512, 599, 600])
def test_an_export_may_begin_later(path, first):
    lines = LOG_OF_600.export(first)
    verified = verify_export(written(path, lines), KEY)
    assert (verified.first, sum(verified.events.values())) == (first, SIZE - first)
    for wrong in range(first + 1, min(first + 3, SIZE)):
        without = [line for line in lines if line != leaf(wrong - 1) + b"\n"]
        assert f"entry {wrong - 1} " in refused(path, without)


def test_an_export_that_claims_another_beginning_is_refused(path):
    lines = LOG_OF_600.export(300)
    head = Header.parse(lines[0].rstrip())
    for first in (0, 299, 301, 601, 5000):
        forged = [Header(head.checkpoint, 2, first, head.edge).line() + b"\n", *lines[1:]]
        assert refused(path, forged)


@pytest.mark.parametrize("older", [0, 1, 2, 255, 256, 257, 300, 511, 512, 513, 599, 600])
def test_an_export_is_proved_to_continue_each_older_checkpoint_and_no_other(path, older):
    good, bad = LOG_OF_600.checkpoint(older), Checkpoint(KEY.name, older, bytes(32))
    for lines in (LOG_OF_600.export(), LOG_OF_600.plain_export()):
        assert verify_export(written(path, lines), KEY, good).since == good
        words = refused(path, lines, bad)
        assert words == f"the log does not continue the older checkpoint: {LOG_OF_600.checkpoint()}; older: {bad}"


def test_a_shorter_log_and_another_log_do_not_continue_a_checkpoint(path):
    shorter = LOG_OF_600.export(size=500)
    assert "fewer entries than the older checkpoint" in refused(path, shorter, LOG_OF_600.checkpoint(501))
    stranger = Checkpoint("other.example", 3, LOG_OF_600.checkpoint(3).root)
    assert "of another log" in refused(path, shorter, stranger)


def test_an_export_that_begins_too_late_says_that_it_cannot_prove_what_was_before(path):
    late = LOG_OF_600.export(300)
    assert verify_export(written(path, late), KEY, LOG_OF_600.checkpoint(300)).first == 300
    assert verify_export(path, KEY, LOG_OF_600.checkpoint(256)).first == 300
    assert "begins at entry 300 and cannot show" in refused(path, late, LOG_OF_600.checkpoint(100))


def test_further_signatures_do_not_disturb(path, lines):
    head = Header.parse(lines[0].rstrip())
    for name in ("witness.example", KEY.name):
        other = sign_checkpoint(LOG_OF_600.checkpoint(), STRANGER, name).splitlines()[-1] + "\n"
        first, _, last = head.checkpoint.rpartition("— ")
        for note in (head.checkpoint + other, f"{first}{other}— {last}"):
            lines[0] = Header(note, 2, 0, head.edge).line() + b"\n"
            assert verify_export(written(path, lines), KEY).size == SIZE


def test_an_empty_log_proves_no_entry(path):
    empty = made_log(0)
    assert empty.checkpoint().root == EMPTY_ROOT
    assert "entry 0 is not covered" in refused(path, [*empty.export(), leaf(0) + b"\n"])
    assert "entry 0 is not covered" in refused(path, [*empty.plain_export(), leaf(0) + b"\n"])


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 3},
        {"version": True},
        {"version": "2"},
        {"first": -1},
        {"first": True},
        {"first": "0"},
        {"edge": ""},
        {"edge": "AAAA"},
        {"edge": None},
        {"edge": "%"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_first_line_that_says_something_else_is_refused(path, lines, fields):
    head = {**json.loads(lines[0]), **fields}
    lines[0] = json.dumps(head, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    assert refused(path, lines)


def test_a_tile_is_written_in_one_way_only():
    tile, hashes = Tile(0, 2), LOG_OF_600.stored(0, 512, 88)
    line = tile_line(tile, hashes)
    assert parse_tile(line, tile, SIZE) == hashes
    for wrong in (
        line.replace(b'"level":0', b'"level":false'),
        line + b" ",
        line.replace(b'"}', b'"}'),
        b"",
        line[:-1],
    ):
        if wrong != line:
            with pytest.raises(TransparencyError):
                parse_tile(wrong, tile, SIZE)


# A thousand tamperings, of every kind, at random places.

TAMPERED = made_log(300)


def _altered_byte(rng, lines):
    at = rng.randrange(len(lines))
    line = bytearray(lines[at])
    line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
    lines[at] = bytes(line)


def _dropped(rng, lines):
    del lines[rng.randrange(len(lines))]


def _several_dropped(rng, lines):
    at = rng.randrange(len(lines))
    del lines[at : at + rng.randrange(1, 50)]


def _swapped(rng, lines):
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]


def _duplicated(rng, lines):
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))


def _inserted(rng, lines):
    lines.insert(rng.randrange(1, len(lines) + 1), leaf(rng.randrange(301), "otto") + b"\n")


def _truncated(rng, lines):
    data = b"".join(lines)
    lines[:] = [data[: rng.randrange(len(data))]]


def _signed_by_another(rng, lines):
    stranger = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
    note = sign_checkpoint(TAMPERED.checkpoint(), stranger, KEY.name)
    if rng.random() < 0.5:
        # It claims the log's own key.
        mark, _, _ = TAMPERED.note().rpartition(" ")
        note = f"{mark} {_encoded(KEY.key_hash + stranger.sign(TAMPERED.checkpoint().body().encode()))}\n"
    _with_head(lines, checkpoint=note)


def _forked(rng, lines):
    at = rng.randrange(300)
    leaves = [*TAMPERED.leaves[:at], *(leaf(index, "otto") for index in range(at, rng.randrange(at + 1, 302)))]
    other = MadeLog(leaves, Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)))
    lines[:] = other.export()
    if rng.random() < 0.5:
        _with_head(lines, checkpoint=TAMPERED.note())


def _older_checkpoint(rng, lines):
    older = rng.randrange(300)
    _with_head(lines, checkpoint=TAMPERED.note(older))
    if rng.random() < 0.5:
        _with_head(lines, edge=_encoded(b"".join(TAMPERED.edge(older))))


def _header_changed(rng, lines):
    fields = [{"first": rng.randrange(1, 400)}, {"version": rng.choice([0, 3])}, {"edge": _encoded(rng.randbytes(128))}]
    _with_head(lines, **rng.choice(fields))


def _hashes_changed(rng, lines):
    at = rng.choice([index for index, line in enumerate(lines) if line.startswith(b'{"hashes":')])
    fields = json.loads(lines[at])
    hashes = bytearray(_decoded(fields["hashes"]))
    hashes[rng.randrange(len(hashes))] ^= 1 << rng.randrange(8)
    lines[at] = _json({**fields, "hashes": _encoded(bytes(hashes))})


def _rewritten_with_its_hash(rng, lines):
    at = rng.randrange(300)
    forged = MadeLog([*TAMPERED.leaves[:at], leaf(at, "otto"), *TAMPERED.leaves[at + 1 :]]).export()
    lines[:] = [lines[0], *forged[1:]] if rng.random() < 0.5 else [lines[0], lines[1], *forged[2:]]


def _encoded(data):
    return base64.b64encode(data).decode()


def _decoded(text):
    return base64.b64decode(text)


def _json(fields):
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _with_head(lines, **fields):
    lines[0] = _json({**json.loads(lines[0]), **fields})


TAMPERINGS = [
    _altered_byte,
    _dropped,
    _several_dropped,
    _swapped,
    _duplicated,
    _inserted,
    _truncated,
    _signed_by_another,
    _forked,
    _older_checkpoint,
    _header_changed,
    _hashes_changed,
    _rewritten_with_its_hash,
]


def first_difference(honest, forged):
    """The number of the entry that a reader, going on from the beginning, first finds wrong; None if no entry is."""
    for ours, theirs in zip(honest, forged, strict=False):
        if ours != theirs:
            return None if ours.startswith(b'{"hashes":') or b'"checkpoint"' in ours else json.loads(ours)["index"]
    return None


def test_of_a_thousand_random_tamperings_none_is_accepted_and_the_right_entry_is_named(path):
    rng = random.Random(20261123)
    honest, named = TAMPERED.export(), 0
    for number in range(1000):
        lines, tamper = list(honest), TAMPERINGS[number % len(TAMPERINGS)]
        tamper(rng, lines)
        if b"".join(lines) == b"".join(honest):
            continue
        words = refused(path, lines)
        lines = b"".join(lines).splitlines(keepends=True)
        wrong = first_difference(honest, lines)
        if wrong is not None and lines[0] == honest[0]:
            assert f"entry {wrong} " in words, (tamper.__name__, words)
            named += 1
    assert named > 300
    assert verify_export(written(path, honest), KEY).size == 300
