"""What outsiders verify, of a real key server: receipts, its export, and that its log goes on."""

import json
import subprocess
import sys

import pytest
import typer
from PIL import Image
from skimage.data import astronaut

import faceseal
from faceseal.cli import photos
from faceseal.cli.audit import audit_app
from faceseal.cli.console import run
from faceseal.client import DpopKey, KeyServer
from faceseal.client.receipt import stored_receipt
from faceseal.errors import TransparencyError
from faceseal.translog import VerifierKey, open_checkpoint, verify_consistency, verify_export
from keyserver.audit import LogHead
from keyserver.installation import open_ports
from keyserver.settings import Settings


@pytest.fixture
def command(running, monkeypatch, capsys):
    """Runs a command as rita; gives its exit code, output and errors."""
    app = typer.Typer()
    app.add_typer(audit_app, name="audit")
    app.command()(photos.restore)

    def invoke(*arguments):
        monkeypatch.setenv("FACESEAL_TOKEN", running.token("rita"))
        code = run(app, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


@pytest.fixture
def rita(running, tmp_path):
    """A client with a folder of its own."""
    token = running.token("rita")
    with KeyServer(
        running.url,
        token=token,
        log_key=running.log_key,
        client_key=DpopKey.generate(),
        folder=tmp_path / "home",
    ) as server:
        yield server


def approved(server, client, key):
    grant = server.request_grant([key], "a test", uses=3)
    client("ben").approve_grant(grant.id)
    return str(grant.id)


def exported(running, path):
    arguments = ["audit", "export", "--data", running.data, "--output", path]
    subprocess.run([sys.executable, "-m", "keyserver", *map(str, arguments)], check=True, timeout=60)
    return path


def test_each_release_continues_what_was_seen_and_the_export_continues_it_too(running, rita, client, tmp_path):
    key = rita.create()
    grant = approved(rita, client, key.key_id)
    for _ in range(3):
        rita.release(key.key_id, grant)
        assert rita.last_receipt.consistency_proof is not None
    (path,) = (tmp_path / "home" / "checkpoints").glob("*.txt")
    log_key = VerifierKey.parse(running.log_key)
    since = open_checkpoint(path.read_text(), log_key)
    assert since == open_checkpoint(rita.last_receipt.checkpoint, log_key)
    verified = verify_export(exported(running, tmp_path / "log.jsonl"), log_key, since)
    assert verified.size >= since.size
    assert verified.events["release.allowed"] >= 3
    now = open_checkpoint(rita.checkpoint(), log_key)
    verify_consistency(since.size, now.size, rita.prove_consistency(since.size, now.size), since.root, now.root)


def test_a_server_that_proves_another_past_than_the_one_remembered_is_refused(running, rita, client, tmp_path):
    key = rita.create()
    grant = approved(rita, client, key.key_id)
    rita.release(key.key_id, grant)
    (path,) = (tmp_path / "home" / "checkpoints").glob("*.txt")
    # What another log of the same key, were there one, has signed: with the server's own key.
    log_key = VerifierKey.parse(running.log_key)
    seen = open_checkpoint(path.read_text(), log_key)
    ports = open_ports(Settings(data=running.data))
    for size in (seen.size, seen.size + 1, seen.size + 10_000):
        path.write_text(ports.signer.sign(LogHead(seen.origin, size, bytes(32), (log_key.public,))))
        with pytest.raises(TransparencyError, match="does not continue"):
            rita.release(key.key_id, approved(rita, client, key.key_id))
    ports.database.close()


def test_a_restored_photo_has_its_receipt_beside_it_and_anybody_can_verify_it(running, command, client, tmp_path):
    sealer = client("camera")
    source = tmp_path / "photo.png"
    Image.fromarray(astronaut()[:256, 96:352]).save(source)
    sealed = faceseal.anonymize(source, keys=sealer, profile=faceseal.FAST)
    sealed.save(tmp_path / "sealed.png")
    rita = client("rita")
    grant = approved(rita, client, sealed.key_id)

    output, kept = tmp_path / "restored.png", tmp_path / "restored.png.receipt.json"
    arguments = ["--server", running.url, "--log-key", running.log_key, "--grant", grant]
    code, out, err = command("restore", tmp_path / "sealed.png", output, *arguments)
    assert (code, err) == (0, "")
    assert str(kept) in out
    code, out, _ = command("audit", "verify-receipt", kept, "--key", running.log_key)
    assert code == 0
    for words in ("release.allowed", str(sealed.key_id), grant):
        assert words in out
    assert "rita" not in out
    assert wrong_exit_codes(command, kept, running) == [1, 1, 1, 2, 2]

    restored = faceseal.restore(sealed, keys=rita, grant=grant)
    restored.save_receipt(tmp_path / "again.png")
    assert (tmp_path / "again.png.receipt.json").read_bytes() == stored_receipt(rita.last_receipt)
    # Nothing is overwritten, and no use is spent.
    output.unlink()
    code, _, err = command("restore", tmp_path / "sealed.png", output, *arguments)
    assert code == 2
    assert f"{kept} exists" in err


def wrong_exit_codes(command, kept, running):
    """Of a receipt with another entry, another place, rubbish; with no key, and no file."""
    receipt, codes = json.loads(kept.read_bytes()), []
    for changed in (
        {"leaf": receipt["leaf"].replace("allowed", "denied")},
        {"index": receipt["index"] - 1},
        {"leaf": 1},
    ):
        forged = kept.with_name("forged.json")
        forged.write_text(json.dumps({**receipt, **changed}))
        codes.append(command("audit", "verify-receipt", forged, "--key", running.log_key)[0])
    codes.append(command("audit", "verify-receipt", kept, "--key", "x")[0])
    codes.append(command("audit", "verify-receipt", kept.with_name("nothing"), "--key", running.log_key)[0])
    return codes
