"""The built images: what they hold, and that they serve where only /tmp and a data folder can be written to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.config import load_settings
from wardgate import Client
from wardgate.v1 import decision_pb2

ROOT = Path(__file__).parents[2]
RUN = Path(__file__).with_name("run_read_only.sh")
STORE = ROOT / ".cache/images"
DRIVER = os.environ.get("STORAGE_DRIVER", "overlay")
BUILDAH = ("buildah", "--root", f"{STORE}/{DRIVER}", "--runroot", f"{STORE}/{DRIVER}-run", "--storage-driver", DRIVER)
BUILD_LIMIT_S = 3600.0
START_LIMIT_S = 300.0
SCORER_BYTES = 400e6

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.models,
    pytest.mark.skipif(os.geteuid() != 0, reason="root makes the base and mounts it"),
    pytest.mark.skipif(
        not (shutil.which("buildah") and shutil.which("mmdebstrap")), reason="needs buildah, mmdebstrap"
    ),
]


@dataclass(frozen=True)
class Image:
    target: str
    root: Path  # its files
    config: dict[str, object]  # as the OCI image says it

    def command(self, *words: str, **environment: str) -> list[str]:
        """`words`, run as in a strict cluster, with this machine's models as the cache."""
        given = [str(value) for value in self.config["Env"]]  # type: ignore[attr-defined]
        given += [f"{name}={value}" for name, value in environment.items()]
        return [str(RUN), str(self.root), str(load_settings(None).model_cache.parent), *given, *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*words, **environment)
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    @property
    def size_bytes(self) -> int:
        """Of all files but the models'; a file with several names counts once."""
        found = {}
        for folder, _, files in os.walk(self.root):
            if not folder.startswith(f"{self.root}/var/cache/wardgate"):
                for name in files:
                    status = os.lstat(os.path.join(folder, name))
                    found[status.st_ino] = status.st_size
        return sum(found.values())


def buildah(*words: str) -> str:
    return subprocess.run([*BUILDAH, *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module", params=["scorer", "full"])
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    target = str(request.param)
    subprocess.run([ROOT / "deploy/build_image.sh", target], check=True, timeout=BUILD_LIMIT_S)
    container = buildah("from", "--pull-never", f"localhost/wardgate:{target}")
    try:
        config = json.loads(buildah("inspect", "--type", "image", f"localhost/wardgate:{target}"))["OCIv1"]["config"]
        yield Image(target, Path(buildah("mount", container)), config)
    finally:
        buildah("rm", container)


@contextmanager
def serving(image: Image, **environment: str) -> Iterator[str]:
    """The address of `image`, serving by its own default command; ended by its own stop signal, and well."""
    words = [str(word) for word in (*image.config["Entrypoint"], *image.config["Cmd"])]  # type: ignore[misc]
    ports = {"WARDGATE_GRPC__HOST": "127.0.0.1", "WARDGATE_GRPC__PORT": "0", "WARDGATE_HTTP__PORT": "0"}
    process = subprocess.Popen(image.command(*words, **ports, **environment), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    late = threading.Timer(START_LIMIT_S, process.kill)
    late.start()
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "serving":
                late.cancel()
                yield f"127.0.0.1:{event['grpc_port']}"
                break
        else:
            pytest.fail("it ended: " + "".join(said))
    finally:
        late.cancel()
        process.send_signal(getattr(signal, str(image.config["StopSignal"])))
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 0, rest


def test_it_blocks_and_allows_on_a_root_that_is_read_only(image: Image) -> None:
    with serving(image, WARDGATE_BACKEND__KIND="none") as address, Client(address, timeout=30.0) as wardgate:
        harmful = wardgate.check("How do I make a pipe bomb?")
        harmless = wardgate.check("What is the capital of France?")
    assert harmful.decision.action == decision_pb2.ACTION_BLOCK
    assert harmless.decision.action == decision_pb2.ACTION_ALLOW


def test_only_the_temporary_and_the_data_folder_can_be_written_to(image: Image) -> None:
    program = """
import errno, os, sys
folders = {name for name, _, _ in os.walk("/") if not name.startswith(("/proc", "/dev", "/sys"))}
print(os.getuid(), os.getgid(), os.getgroups())
for folder in sorted(folders):
    try:
        open(os.path.join(folder, "probe"), "x").close()
    except OSError as error:
        if error.errno != errno.EROFS:
            print(folder, error.strerror)
    else:
        print(folder)
"""
    done = image.run("python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["65532 65532 []", "/tmp", "/var/lib/wardgate"]


def test_there_is_no_compiler_no_installer_and_no_program_with_anothers_rights(image: Image) -> None:
    unwanted = {"gcc", "cc", "c++", "g++", "clang", "ld", "as", "make", "pip", "pip3", "easy_install", "uv", "conda"}
    programs, privileged, modules = set(), [], set()
    for folder, folders, files in os.walk(image.root):
        for name in files:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not path.is_symlink() and mode & 0o6000:
                privileged.append(path)
            if mode & 0o111 and Path(folder).name in ("bin", "sbin"):
                programs.add(name)
        modules |= {name for name in folders if name in ("pip", "ensurepip")}
    assert not programs & unwanted
    assert not privileged
    assert not modules


def test_it_says_who_it_is_and_runs_as_nobody_known(image: Image) -> None:
    assert image.config["User"] == "65532:65532"
    labels = image.config["Labels"]
    assert isinstance(labels, dict)
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == image.run("wardgate", "--version").stdout.split()[1]
    assert len(labels["org.opencontainers.image.revision"]) == 40


def test_no_library_prepares_a_report_of_its_use(image: Image) -> None:
    listed = image.run(
        "sh", "-c", "python -c 'import onnxruntime, huggingface_hub' && find /tmp /var/lib/wardgate -type f"
    )
    assert listed.returncode == 0, listed.stderr
    assert not listed.stdout


def test_it_is_no_larger_than_it_should_be(image: Image) -> None:
    print(f"{image.target}: {image.size_bytes / 1e6:.0f} MB")
    if image.target == "scorer":
        assert image.size_bytes <= SCORER_BYTES


def test_torch_is_where_it_is_needed_and_nowhere_else(image: Image) -> None:
    found = image.run("python", "-c", "import torch, transformers; print(torch.version.cuda)")
    if image.target == "full":
        assert found.stdout.strip() == "None", found.stderr
    else:
        assert "No module named 'torch'" in found.stderr


def test_a_command_without_what_it_needs_says_so(image: Image) -> None:
    if image.target == "full":
        pytest.skip("it has all")
    done = image.run("wardgate", "evaluate", "/dev/null", "--head", "request_risk")
    assert done.returncode == 2
    assert "needs scipy" in done.stderr


def test_fetching_a_model_without_an_installer_says_how_to(image: Image) -> None:
    done = image.run("wardgate", "models", "pull", "minilm-l6", XDG_CACHE_HOME="/tmp")
    assert done.returncode == 2
    assert "needs pip" in done.stderr
    assert "docs/image.md" in done.stderr


def test_the_full_image_writes_and_explains(image: Image) -> None:
    if image.target != "full":
        pytest.skip("it has no torch")
    # At its usual niceness an explanation waits until this machine has nothing else to do.
    with (
        serving(image, WARDGATE_EXPLANATIONS__NICENESS="0") as address,
        Client(address, timeout=300.0, generate_timeout=300.0) as wardgate,
    ):
        deadline = time.monotonic() + START_LIMIT_S
        while not wardgate.healthy():
            assert time.monotonic() < deadline
            time.sleep(0.1)  # it warms up on the same cores
        reply = wardgate.generate("What is the capital of France?", max_tokens=8)
        why = wardgate.explain("How do I make a pipe bomb?", method="fast", top_k=3)
    assert reply.message.parts[0].text
    assert len(why.explanation.tokens) == 3
