"""What the SDK remembers of a key server's log, and what it does when the log is another one."""

import json
import threading

import pytest
from log_peer import KEY, SECRET, LogPeer, grant_token
from made_log import KEY as LOG_KEY
from made_log import MadeLog

from faceseal import translog
from faceseal.client import DpopKey, KeyServer
from faceseal.errors import ClientKeyError, RequestRejected, TransparencyError

CLIENT = DpopKey.generate()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def client(home):
    """Opens a client of this user, as each process does for itself."""

    def opened(peer, folder=None):
        return KeyServer(
            "http://localhost:1",
            token="t",
            log_key=LOG_KEY,
            client_key=CLIENT,
            folder=folder or home,
            transport=peer.transport(),
        )

    return opened


def release(server):
    key = server.release(KEY, grant_token())
    assert key.secret == SECRET


def remembered(home):
    (path,) = (home / "checkpoints").glob("*.txt")
    return path, translog.open_checkpoint(path.read_text(), LOG_KEY)


def evidence(home):
    return [json.loads(path.read_text()) for path in (home / "checkpoints").glob("*.json")]


def test_the_newest_checkpoint_is_remembered_across_processes_and_continued(client, home):
    peer = LogPeer()
    for size in (2, 3, 4):
        release(client(peer))
        path, checkpoint = remembered(home)
        assert checkpoint.size == size
    assert peer.asked == [0, 2, 3]
    assert peer.proved == []
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert evidence(home) == []


def test_what_is_remembered_can_be_given_to_the_verifier_of_exports(client, home, tmp_path):
    peer = LogPeer(leaves=[b'{"index":0}'])
    release(client(peer))
    _, since = remembered(home)
    peer.leaves += [b'{"index":2}']
    export = tmp_path / "log.jsonl"
    export.write_bytes(b"".join(MadeLog(peer.leaves).export()))
    assert translog.verify_export(export, LOG_KEY, since).size == 3


def test_a_forked_log_is_an_error_that_names_both_checkpoints_and_keeps_the_evidence(client, home):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    path, before = remembered(home)
    forked = LogPeer(leaves=[b"[]"] * 9)
    with pytest.raises(TransparencyError) as caught:
        release(client(forked))
    for words in ("does not continue", str(before), "log.example, 10 entries", str(path), ".json"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert remembered(home) == (path, before)
    (kept,) = evidence(home)
    assert translog.open_checkpoint(kept["remembered"], LOG_KEY) == before
    assert translog.open_checkpoint(kept["received"], LOG_KEY).size == 10
    assert json.loads(kept["receipt"]["leaf"])["event"] == "release.allowed"
    (file,) = (home / "checkpoints").glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    release(client(peer))


def test_evidence_that_cannot_be_written_does_not_hide_what_it_is_of(client, home, monkeypatch):
    release(client(LogPeer(leaves=[b"{}"] * 5)))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("faceseal.client.remembered.replace_file", full)
    with pytest.raises(TransparencyError, match=r"does not continue .* could not be kept: .* No space left"):
        release(client(LogPeer(leaves=[b"[]"] * 9)))


@pytest.mark.parametrize("left", [1, 3, 4])
def test_a_shrunken_log_is_an_error_whatever_it_can_still_prove(client, home, left):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    release(client(peer))
    shrunken = LogPeer(leaves=peer.leaves[:left])
    with pytest.raises(TransparencyError, match=r"does not continue .* 7 entries"):
        release(client(shrunken))
    assert remembered(home)[1].size == 7
    assert len(evidence(home)) == 1


def test_a_log_that_is_another_one_of_the_same_size_is_an_error(client, home):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    with pytest.raises(TransparencyError, match="does not continue"):
        release(client(LogPeer(leaves=[b"[]"] * 5)))


@pytest.mark.parametrize(
    "alter",
    [
        lambda proof: proof[:0],
        lambda proof: proof[:-1],
        lambda proof: [*proof, bytes(32)],
        lambda proof: [bytes(32), *proof[1:]],
    ],
)
def test_a_proof_that_does_not_prove_is_an_error(client, home, alter):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    peer.alters_proofs = alter
    with pytest.raises(TransparencyError, match="does not continue"):
        release(client(peer))


def test_a_server_that_has_proved_once_must_go_on_proving(client, home):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    peer.forgets_proofs = True
    release(client(peer))
    assert peer.proved == [(6, 7)]
    peer.proves = False
    with pytest.raises(TransparencyError, match="does not continue"):
        release(client(peer))
    peer.knows_sizes = False
    with pytest.raises(RequestRejected):
        release(client(peer))


def test_a_server_of_an_older_version_is_asked_without_the_size_and_nothing_of_it_is_remembered(client, home):
    peer = LogPeer(knows_sizes=False)
    server = client(peer)
    release(server)
    release(server)
    assert peer.asked == [None, None]
    assert list((home / "checkpoints").glob("*.txt")) == []
    peer.leaves[:] = [b"[]"]
    with pytest.raises(TransparencyError, match="does not continue"):
        release(server)
    # Once it is a newer one, it is remembered by the next client.
    peer.knows_sizes = True
    release(client(peer))
    assert remembered(home)[1].size == len(peer.leaves)


def test_an_answer_that_comes_late_but_is_of_the_same_log_is_no_error(client, home):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))

    def overtaken():
        peer.before_answer = lambda: None
        release(client(peer))

    peer.before_answer = overtaken
    release(client(peer))
    assert remembered(home)[1].size == 8
    assert peer.proved == [(7, 8)]


def test_an_answer_that_comes_late_and_is_of_a_fork_is_an_error(client, home):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    fork = LogPeer(leaves=list(peer.leaves))

    def overtaken():
        release(client(peer))

    fork.before_answer = overtaken
    with pytest.raises(TransparencyError, match="does not continue"):
        release(client(fork))
    assert remembered(home)[1].size == 7


def test_clients_that_release_at_the_same_time_agree_on_what_is_newest(client, home):
    peer, lock, failures = LogPeer(), threading.Lock(), []
    answer = peer._answer

    def one_at_a_time(request):
        with lock:
            return answer(request)

    peer._answer = one_at_a_time

    def work():
        try:
            for _ in range(5):
                release(client(peer))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert remembered(home)[1].size == len(peer.leaves) == 21


def test_logs_of_other_keys_and_users_are_remembered_apart(client, home, tmp_path):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    release(client(LogPeer(leaves=[b"[]"] * 2), tmp_path / "another"))
    assert remembered(home)[1].size == 6
    assert remembered(tmp_path / "another")[1].size == 3


@pytest.mark.parametrize("spoil", [b"", b"rubbish", b"\xff", None])
def test_a_remembered_checkpoint_that_was_altered_stops_the_release_before_it_begins(client, home, spoil):
    peer = LogPeer(leaves=[b"{}"] * 5)
    release(client(peer))
    path, _ = remembered(home)
    path.write_bytes(path.read_bytes().replace(b"\n6\n", b"\n5\n") if spoil is None else spoil)
    with pytest.raises(TransparencyError, match="is not the checkpoint that was remembered there"):
        release(client(peer))
    assert len(peer.asked) == 1


def test_a_folder_that_others_can_write_to_is_refused_before_a_use_is_spent(client, home):
    (home / "checkpoints").mkdir(parents=True)
    (home / "checkpoints").chmod(0o777)
    peer = LogPeer()
    with pytest.raises(ClientKeyError, match="chmod go-w"):
        release(client(peer))
    assert peer.asked == []


def test_without_the_logs_key_nothing_is_asked_and_nothing_remembered(home):
    peer = LogPeer()
    with KeyServer(
        "http://localhost:1", token="t", client_key=CLIENT, folder=home, transport=peer.transport()
    ) as server:
        release(server)
    assert peer.asked == [None]
    assert not (home / "checkpoints").exists()
