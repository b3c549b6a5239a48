"""The caller's package as a caller gets it: from pip, in an environment of its own. Needs the package index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import GuardrailServer

CONTRACT = Path(__file__).parents[2] / "proto"

CALL = """
import importlib.metadata, json, sys
import google.protobuf, grpc, wardgate
with wardgate.Client(sys.argv[1]) as client:
    reply = client.check("hello", response="hi", request_id="from afar", scores=True)
try:
    wardgate.Client("elsewhere:1", token="t")
except ValueError:
    pass
print(json.dumps({
    "reply": reply.request_id,
    "again": type(reply).FromString(reply.SerializeToString()) == reply,
    "from": wardgate.__file__,
    "installed": sorted(found.metadata["Name"].lower() for found in importlib.metadata.distributions()),
    "grpcio": grpc.__version__,
    "protobuf": google.protobuf.__version__,
}))
"""


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pip(*arguments: str | Path, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CONTRACT, cwd=folder)
    (built,) = folder.glob("wardgate_client-*.whl")
    return built


def test_in_an_empty_environment_it_brings_only_grpcio_and_protobuf(
    wheel: Path, tmp_path: Path, guardrail: GuardrailServer
) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    pip("--python", python, "install", "--quiet", wheel, cwd=tmp_path)

    told = json.loads(run(python, "-W", "error", "-c", CALL, guardrail.target, cwd=tmp_path))

    assert set(told["installed"]) - {"typing_extensions"} == {"grpcio", "protobuf", "wardgate-client"}
    assert told["from"].startswith(str(environment))
    assert told["reply"] == "from afar"
    assert guardrail.calls[0].request.messages[0].parts[0].text == "hello"


@pytest.mark.parametrize("versions", [("grpcio==1.74.0", "protobuf==6.31.1"), ("grpcio", "protobuf")])
def test_the_oldest_and_the_newest_libraries_will_do(
    wheel: Path, tmp_path: Path, guardrail: GuardrailServer, versions: tuple[str, str]
) -> None:
    libraries = tmp_path / "libraries"
    pip("install", "--quiet", "--upgrade", "--target", libraries, wheel, *versions, cwd=tmp_path)

    told = json.loads(
        run(sys.executable, "-S", "-W", "error", "-c", CALL, guardrail.target, cwd=tmp_path, path=libraries)
    )

    assert told["from"].startswith(str(libraries))
    assert told["reply"] == "from afar"
    assert told["again"]
    for wanted in versions:
        name, _, version = wanted.partition("==")
        assert told[name].startswith(version)


def test_type_information_comes_along(wheel: Path, tmp_path: Path) -> None:
    pip("install", "--quiet", "--no-deps", "--target", tmp_path, wheel, cwd=tmp_path)
    assert (tmp_path / "wardgate" / "py.typed").exists()
    assert (tmp_path / "wardgate" / "v1" / "guardrail_pb2.pyi").exists()
