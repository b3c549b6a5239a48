"""The service started as the chart starts it, and asked as the chart's health checks and test pod ask it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from guards.errors import ModelError
from service.__main__ import main
from service.config import load_settings
from service.reward_models import configured_artefact, open_reward_model
from tests.chart.conftest import Objects, Render, server
from wardgate import Client


@pytest.fixture(scope="module", autouse=True)
def models_are_there() -> None:
    settings = load_settings(None)
    try:
        open_reward_model(settings, configured_artefact(settings))
    except ModelError as error:
        pytest.skip(f"the embedded models are not in the cache: {error}")


@dataclass(frozen=True)
class Served:
    grpc: int
    http: int

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@contextmanager
def served(objects: Objects, folder: Path) -> Iterator[Served]:
    """With the chart's settings but for its two ports and the folders that a container has."""
    text = objects["ConfigMap", "wardgate-config"]["data"]["wardgate.yaml"]
    for path in ("/etc/wardgate", "/var/lib/wardgate"):
        text = text.replace(path, str(folder))
    text = text.replace("port: 50051", "port: 0").replace("port: 9464", "port: 0")
    (folder / "wardgate.yaml").write_text(text)
    arguments = [argument.replace("/etc/wardgate", str(folder)) for argument in server(objects)["args"]]
    command = [sys.executable, "-m", "service", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            event = next((e for e in map(json.loads, process.stderr) if e["event"] == "serving"), None)
            assert event is not None, "the service did not start"
            yield Served(event["grpc_port"], event["http_port"])
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0


def check(objects: Objects, folder: Path, place: Served) -> int:
    """What the test pod runs, at the port that this service took. Certificates here are for `localhost`."""
    arguments: list[str] = list(objects["Pod", "wardgate-test-check"]["spec"]["containers"][0]["args"])
    arguments[arguments.index("--server") + 1] = f"localhost:{place.grpc}"
    return main([argument.replace("/etc/wardgate/caller", str(folder / "caller")) for argument in arguments])


def test_by_default_it_answers_health_checks_by_grpc_and_the_test_pods_question(
    objects: Render, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = objects()
    names = {server(found)[f"{check}Probe"]["grpc"]["service"] for check in ("startup", "readiness", "liveness")}
    with served(found, tmp_path) as place:
        with Client(f"127.0.0.1:{place.grpc}") as client:
            assert all(client.healthy(name) for name in names)
            assert not client.healthy("no-such-name")
        assert check(found, tmp_path, place) == 0
    assert capsys.readouterr().out.startswith("ALLOW")


def test_with_tls_and_tokens_it_answers_health_checks_by_http_and_the_test_pods_question(
    objects: Render, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values: dict[str, Any] = {
        "tls": {"existingSecret": "tls", "clientCA": {"existingSecret": "ca", "ownSecret": "own"}},
        "auth": {"tokens": {"existingSecret": "tokens"}, "adminTokens": {"existingSecret": "admins"}},
    }
    found = objects(values)
    write_secrets(tmp_path)
    probes = [server(found)[f"{check}Probe"]["httpGet"] for check in ("startup", "readiness", "liveness")]
    with served(found, tmp_path) as place:
        assert [place.status(probe["path"]) for probe in probes] == [200, 200, 200]
        assert check(found, tmp_path, place) == 0
        assert capsys.readouterr().out.startswith("ALLOW")
        (tmp_path / "caller/token/token").write_text("a-token-that-nobody-knows")
        assert check(found, tmp_path, place) == 2
        assert "UNAUTHENTICATED" in capsys.readouterr().err


def write_secrets(folder: Path) -> None:
    """As the chart mounts them: the service's own, and what its callers get."""
    places = {name: folder / "secrets" / name for name in ("tls", "client-ca", "tokens", "admin-tokens")}
    callers = {name: folder / "caller" / name for name in ("ca", "own", "token")}
    for place in (*places.values(), *callers.values()):
        place.mkdir(parents=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=wardgate", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", places["tls"] / "tls.key", "-out", places["tls"] / "tls.crt"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    for name in ("tls.crt", "tls.key"):
        (callers["own"] / name).write_bytes((places["tls"] / name).read_bytes())
    for file in (places["client-ca"] / "ca.crt", callers["ca"] / "ca.crt"):
        file.write_bytes((places["tls"] / "tls.crt").read_bytes())
    (places["tokens"] / "tokens").write_text("# callers\na-callers-token-0123456789\n")
    (places["admin-tokens"] / "tokens").write_text("an-admins-token-0123456789\n")
    (callers["token"] / "token").write_text("# callers\na-callers-token-0123456789\n")
