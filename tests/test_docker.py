"""docker/: what can be known of images and services without building them."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from keyserver.cli import main
from keyserver.settings import Settings

FOLDER = Path(__file__).parents[1] / "docker"
GIVEN = {
    "POSTGRES_PASSWORD": "hidden",
    "KEYSERVER_EXTERNAL_URL": "https://keys.example:8443",
    "TLS_FOLDER": "/etc/faceseal/tls",
}
PROXY = (FOLDER / "proxy.conf").read_text()
DOCKERFILE = (FOLDER / "keyserver.Dockerfile").read_text()


def filled_in(text):
    return re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda found: GIVEN[found[1]], text)


COMPOSE = yaml.safe_load(filled_in((FOLDER / "compose.yaml").read_text()))
SERVICES = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"] == "faceseal-keyserver"}
REPLICAS = {name: each for name, each in OURS.items() if "command" not in each}


def test_there_are_two_replicas_one_worker_and_one_that_makes_the_schema_first():
    assert {tuple(each.get("command", ())) for each in OURS.values()} == {(), ("init",), ("webhook", "deliver")}
    assert len(REPLICAS) == 2
    for each in [*REPLICAS.values(), SERVICES["webhooks"]]:
        assert each["depends_on"]["init"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("service", OURS)
def test_every_setting_of_a_service_is_one_and_has_a_value_that_counts(service, monkeypatch):
    for name, value in OURS[service]["environment"].items():
        assert name.removeprefix("KEYSERVER_").lower() in Settings.model_fields
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.external_url == "https://keys.example:8443/"
    front = COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert settings.trusted_proxies == front


def test_every_setting_of_the_image_is_one():
    named = re.findall(r"\bKEYSERVER_[A-Z_]+", DOCKERFILE)
    assert named
    assert {name.removeprefix("KEYSERVER_").lower() for name in named} <= set(Settings.model_fields)


def test_every_command_is_one_of_the_programs(capsys):
    lists = [re.search(rf"^{word} (\[.*\])$", DOCKERFILE, re.MULTILINE) for word in ("ENTRYPOINT", "CMD")]
    entry, command = (yaml.safe_load(found[1]) for found in lists)
    assert entry == ["keyserver"]
    for arguments in [command, *(each["command"] for each in OURS.values() if "command" in each)]:
        assert main([*arguments, "--help"]) == 0
    told = re.findall(r"run --rm init (.*)$", (FOLDER / "compose.yaml").read_text(), re.MULTILINE)
    assert [main([*shlex.split(line), "--help"]) for line in told] == [0]
    assert "Usage" in capsys.readouterr().out


def test_the_proxy_alone_is_published():
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["proxy"]
    assert SERVICES["proxy"]["networks"] == ["front"]


def test_metrics_and_database_are_on_networks_that_lead_nowhere_else():
    assert COMPOSE["networks"]["metrics"]["internal"] is COMPOSE["networks"]["back"]["internal"] is True
    assert SERVICES["database"]["networks"] == ["back"]
    assert [name for name, each in SERVICES.items() if "metrics" in each["networks"]] == list(REPLICAS)
    assert "9480" not in PROXY


def test_the_proxy_leads_to_every_replica_at_the_port_that_it_listens_on():
    port = re.search(r'"--port", "(\d+)"', DOCKERFILE)[1]
    assert re.findall(r"^ +server (\S+);", PROXY, re.MULTILINE) == [f"{name}:{port}" for name in REPLICAS]
    mounted = [each for each in SERVICES["proxy"]["volumes"] if "proxy.conf" in each]
    assert mounted == ["./proxy.conf:/etc/nginx/conf.d/default.conf:ro"]
    for file in re.findall(r"/etc/nginx/tls/\S+", PROXY):
        assert file.removesuffix(";").rpartition("/")[2] in (FOLDER / "compose.yaml").read_text()


def test_the_proxy_takes_what_the_server_takes_and_believes_no_client_about_its_address():
    settings = Settings()
    sizes = {"k": 1 << 10, "m": 1 << 20}
    body = re.search(r"client_max_body_size (\d+)([km]);", PROXY)
    assert int(body[1]) * sizes[body[2]] >= settings.max_batch_bytes
    head = re.search(r"large_client_header_buffers \d+ (\d+)([km]);", PROXY)
    assert int(head[1]) * sizes[head[2]] >= settings.max_header_bytes
    assert int(re.search(r"proxy_read_timeout (\d+)s;", PROXY)[1]) > settings.request_seconds
    assert "X-Forwarded-For $remote_addr;" in PROXY
    assert "X-Forwarded-Proto $scheme;" in PROXY


def test_replicas_have_time_to_stop_and_nobody_has_more_rights_than_needed():
    for name, each in OURS.items():
        assert (each["read_only"], each["cap_drop"]) == (True, ["ALL"]), name
        if name != "init":
            assert int(each["stop_grace_period"].removesuffix("s")) > Settings().shutdown_seconds
    assert re.search(r"^USER keyserver$", DOCKERFILE, re.MULTILINE)


def test_what_the_image_is_built_from_is_there_and_not_ignored():
    ignored = (FOLDER / "keyserver.Dockerfile.dockerignore").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE):
        assert (FOLDER.parent / source).exists()
        assert f"!{source}\n" in ignored
    for each in OURS.values():
        assert (FOLDER / each["build"]["context"] / each["build"]["dockerfile"]).is_file()
