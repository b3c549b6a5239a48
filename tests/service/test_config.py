from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from guards.errors import ConfigError
from service.config import NoBackend, OpenAISettings, Settings, TransformersSettings, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("WARDGATE_")]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    file = folder / "wardgate.yaml"
    file.write_text(text)
    return file


def test_without_a_file_only_this_machine_is_served() -> None:
    settings = load_settings(None)
    assert (settings.grpc.host, settings.grpc.port, settings.http.host) == ("127.0.0.1", 50051, "127.0.0.1")
    assert settings.grpc.tls is None
    assert isinstance(settings.backend, TransformersSettings)


def test_the_file_sets_and_the_environment_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "grpc: {port: 1000, drain_s: 3}\nhttp: {port: 2000}\n")
    monkeypatch.setenv("WARDGATE_GRPC__PORT", "3000")
    settings = load_settings(file)
    assert (settings.grpc.port, settings.grpc.drain_s, settings.http.port) == (3000, 3.0, 2000)
    assert settings.grpc.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("WARDGATE_GRPC__MAX_MESSAGE_BYTES", "4096", "grpc.max_message_bytes"),
        ("WARDGATE_LIMITS__MAX_TEXT_CHARS", "5", "limits.max_text_chars"),
        ("WARDGATE_MODEL_CACHE", "/models", "model_cache"),
        ("WARDGATE_SCORING__ARTEFACT", "/heads", "scoring.artefact"),
        ("WARDGATE_GRPC__REFLECTION", "false", "grpc.reflection"),
    ],
)
def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, path: str) -> None:
    monkeypatch.setenv(name, value)
    found: object = load_settings(None)
    for step in path.split("."):
        found = getattr(found, step)
    assert str(found).lower() == value


def test_the_environment_configures_a_whole_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDGATE_BACKEND__KIND", "openai")
    monkeypatch.setenv("WARDGATE_BACKEND__BASE_URL", "http://vllm:8000/v1")
    monkeypatch.setenv("WARDGATE_BACKEND__MODEL", "llama")
    backend = load_settings(None).backend
    assert isinstance(backend, OpenAISettings)
    assert (backend.base_url, backend.model) == ("http://vllm:8000/v1", "llama")


def test_the_environment_overrides_one_key_of_a_files_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "backend: {kind: openai, base_url: 'http://a/v1', model: one}\n")
    monkeypatch.setenv("WARDGATE_BACKEND__MODEL", "two")
    backend = load_settings(file).backend
    assert isinstance(backend, OpenAISettings)
    assert (backend.base_url, backend.model) == ("http://a/v1", "two")


def test_a_server_may_have_no_wrapped_model(tmp_path: Path) -> None:
    assert isinstance(load_settings(write(tmp_path, "backend: {kind: none}\n")).backend, NoBackend)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("colour: red", "colour", "Extra inputs"),
        ("grpc: {colour: red}", "grpc.colour", "Extra inputs"),
        ("grpc: {port: 70000}", "grpc.port", "less than or equal to 65535"),
        ("grpc: {port: -1}", "grpc.port", "greater than or equal to 0"),
        ("grpc: {max_message_bytes: 10}", "grpc.max_message_bytes", "1024"),
        ("grpc: {default_deadline_s: 0}", "grpc.default_deadline_s", "greater than 0"),
        ("grpc: {default_deadline_s: .nan}", "grpc.default_deadline_s", ""),
        ("grpc: {tls: {certificate_file: a}}", "grpc.tls.key_file", "required"),
        ("admission: {max_in_flight: 0}", "admission.max_in_flight", "1"),
        ("scoring: {runtime: magic}", "scoring.runtime", "'onnx' or 'torch'"),
        ("scoring: {max_padding: 1}", "scoring.max_padding", "less than 1"),
        ("backend: {kind: magic}", "backend", "magic"),
        ("backend: {kind: openai, base_url: 'ftp://x', model: m}", "backend.openai.base_url", "pattern"),
        ("backend: {kind: none, model: x}", "backend.none.model", "Extra inputs"),
        ("log: {level: loud}", "log.level", "'debug'"),
        ("grpc: {host: 0.0.0.0, tokens_file: t}", "", "grpc.tokens_file without grpc.tls"),
        ("grpc: {host: 0.0.0.0, admin_tokens_file: t}", "", "grpc.admin_tokens_file without grpc.tls"),
        ("1: x", "", "must be a mapping of settings"),
        ("- a list", "", "must be a mapping"),
        ("grpc: [", "", "not valid YAML"),
        ("x: 2026-99-99", "", "not valid YAML"),
    ],
)
def test_a_wrong_setting_is_refused_with_file_and_place(tmp_path: Path, text: str, place: str, what: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_settings(file)
    said = str(refused.value)
    assert said.startswith(f"{file}: ")
    assert place in said
    assert what in said


def test_a_wrong_variable_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDGATE_GRPC__PORT", "many")
    with pytest.raises(ConfigError, match=r"grpc\.port"):
        load_settings(None)


def test_an_unknown_variable_of_a_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDGATE_GRPC__PROT", "1")
    with pytest.raises(ConfigError, match=r"grpc\.prot"):
        load_settings(None)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_tokens_in_the_clear_are_for_this_machine_only(tmp_path: Path, host: str) -> None:
    settings = load_settings(write(tmp_path, f"grpc: {{host: '{host}', tokens_file: t}}"))
    assert settings.grpc.tokens_file == Path("t")


def test_tokens_over_tls_are_taken_from_everywhere(tmp_path: Path) -> None:
    tls = "tls: {certificate_file: c, key_file: k}"
    assert load_settings(write(tmp_path, f"grpc: {{host: 0.0.0.0, tokens_file: t, {tls}}}")).grpc.tls is not None


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "# nothing yet\n")) == load_settings(None)


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(ValidationError):
        Settings().grpc.port = 1


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("sqlite:///relative.db", "four slashes"),
        ("sqlite://", "four slashes"),
        ("sqlite:////", "four slashes"),
        ("mysql://somewhere/x", "must begin with sqlite:/// and an absolute path, or with postgresql://"),
        ("postgresql+asyncpg://somewhere/x", "postgresql://"),
        ("postgresql://user:canary-secret@db/x", "store.password_file"),
        ("postgresql://user@db/x?password=canary-secret", "store.password_file"),
        ("postgresql://user:canary/secret@db/x", "is no URL"),
        ("postgresql://user:12/canary-secret@db/x", "is no URL"),
    ],
)
def test_a_store_that_cannot_be_is_refused_with_the_mend_and_without_the_password(
    tmp_path: Path, url: str, mend: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_settings(write(tmp_path, f"store: {{url: '{url}'}}\n"))
    assert "store.url: " in str(refusal.value)
    assert mend in str(refusal.value)
    assert "canary" not in str(refusal.value)


def test_the_store_is_a_file_in_the_users_folder_unless_said_otherwise(tmp_path: Path) -> None:
    assert load_settings(None).store.url.startswith("sqlite:////")
    settings = load_settings(write(tmp_path, "store: {url: 'postgresql://user@db:5433/x?sslmode=verify-full'}\n"))
    assert settings.store.url == "postgresql://user@db:5433/x?sslmode=verify-full"
    with pytest.raises(ConfigError, match="password_file goes with"):
        load_settings(write(tmp_path, f"store: {{password_file: {tmp_path}/secret}}\n"))
