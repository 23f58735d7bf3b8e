"""Real clients of a real server whose log's key is replaced while it runs."""

from __future__ import annotations

import time

import pytest
from server_process import ServerProcess, token_of

from faceseal.client import DpopKey, KeyServer
from faceseal.errors import TransparencyError
from keyserver import installation
from keyserver.logkey_rotation import retire_log_key, rotate_log_key
from keyserver.settings import Settings


def test_a_client_goes_on_with_the_key_that_it_knows_until_that_is_retired(tmp_path):
    settings = Settings(data=tmp_path / "data")
    ports = installation.initialise(settings, "default", int(time.time()))
    old = ports.signer.verifier_key
    ports.database.close()
    with ServerProcess(settings.data, tmp_path / "server.log") as server:
        mine = DpopKey.generate()

        def client(subject, **options):
            return KeyServer(server.url, token=token_of(settings, subject), client_key=mine, **options)

        with client("rita", log_key=str(old)) as knows_old, client("ben") as approver:
            key = knows_old.create()
            grant = knows_old.request_grant([key.key_id], "correction", uses=5)
            approver.approve_grant(grant.id)
            token = knows_old.grant(grant.id).token
            assert knows_old.release(key.key_id, token).secret == key.secret

            new = rotate_log_key(settings, int(time.time()))
            with client("rita", log_key=str(new)) as knows_new:
                for one in (knows_old, knows_new):
                    assert one.release(key.key_id, token).secret == key.secret
                retire_log_key(settings, old.key_hash.hex(), int(time.time()))
                assert knows_new.release(key.key_id, token).secret == key.secret
                with pytest.raises(TransparencyError, match=r"retired, or somebody forges the log.*operator"):
                    knows_old.release(key.key_id, token)
