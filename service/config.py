"""All settings, and the only reader of the environment.

A YAML file gives them; an environment variable such as WARDGATE_GRPC__PORT overrides one. Unknown
keys are errors. Everything is validated before a model loads.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

import yaml
from cronsim import CronSim, CronSimError
from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from guards.errors import ConfigError, ModelError
from guards.policy import Name, describe
from guards.rewards.checkpoints.presets import with_preset
from guards.rewards.checkpoints.spec import CheckpointSpec
from service.model_sources import parse_source
from service.policies import EMBEDDED_POLICIES

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

_ABSOLUTE_SQLITE = re.compile(r"sqlite:////[^?#]*[^?#/]")
_DURATION = re.compile(r"(?P<count>[0-9]{1,6}) *(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsSettings(_Section):
    """PEM files. With `client_ca_file`, callers must present a certificate signed by it."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None = None


class GrpcSettings(_Section):
    host: str = "127.0.0.1"  # 0.0.0.0 to be reached from elsewhere: then set tls and tokens_file
    port: Port = 50051  # 0 takes a free one
    tls: TlsSettings | None = None
    tokens_file: Path | None = None  # one bearer token a line; without it anyone who reaches the port may call
    admin_tokens_file: Path | None = None  # the same for who may change what serves; without it nobody may, by gRPC
    reflection: bool = True
    max_message_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = 4 << 20
    default_deadline_s: Seconds = 30.0  # for callers that set none
    require_deadline: bool = False  # refuse callers that set none, instead
    max_deadline_s: Seconds = 300.0  # longer ones are cut to this
    max_connection_age_s: Seconds = 300.0  # so that clients find new replicas
    # After SIGTERM: NOT_SERVING, but served on, for balancers that ask for health and do not try again themselves.
    shutdown_delay_s: Annotated[float, Field(ge=0)] = 0.0
    drain_s: Seconds = 20.0  # then requests in flight may take so long


class HttpSettings(_Section):
    """Metrics at /metrics, health at /healthz (alive) and /readyz (ready)."""

    host: str = "127.0.0.1"
    port: Port = 9464


class LimitSettings(_Section):
    max_text_chars: Count = 100_000  # code points of one request, all messages and candidates together
    max_output_tokens: Count = 1024  # most that a caller may ask of the wrapped model


class AdmissionSettings(_Section):
    max_in_flight: Count = 128  # requests at work at once
    max_waiting: Annotated[int, Field(ge=0)] = 256  # requests waiting for a place; more are refused


class ScoringSettings(_Section):
    runtime: Literal["onnx", "torch"] = "onnx"
    device: str = "cpu"  # for torch: cpu, cuda, cuda:0
    artefact: Path | None = None  # folder of reward heads; empty takes the embedded ones
    encoder: str = "minilm-l6"  # the model that the heads stand on, as pulled
    workers: Count = Field(default_factory=lambda: max(1, min(8, os.cpu_count() or 1)))  # threads, one core each
    lone_threads: Count = 4  # of a text that has the machine to itself, at most `workers`; 1 saves 100 MB
    max_batch_tokens: Count = 512  # padded tokens of one forward
    max_batch_items: Count = 64
    max_padding: Annotated[float, Field(ge=0, lt=1)] = 0.05  # share of a forward that may be padding
    patience: Annotated[float, Field(ge=0)] = 1.3  # in lengths of the line: who waited longer is overtaken by few
    max_queue_items: Count = 4096  # windows waiting; more are refused
    max_windows: Count = 256  # windows of one text; more leave its coverage incomplete


class ModelSettings(_Section):
    """A reward model or safety classifier beside the reward model: a checkpoint, read as `reading` says.

    In the file the reading's keys stand beside these; a preset fills those that are left out. See docs/models.md.
    """

    name: Name  # also of its head; a classifier with several risk labels has NAME.LABEL too
    preset: str = ""
    source: str  # file:/absolute/path or hf:org/name@revision
    runtime: Literal["auto", "onnx", "torch"] = "auto"  # auto: onnx on CPUs where the graph gives torch's numbers
    device: str = "cpu"  # for torch: cpu, cuda, cuda:0
    dtype: Literal["", "float32", "bfloat16", "float16"] = ""  # for torch; empty: float32 on CPUs, else bfloat16
    workers: Count = 1  # threads, each with one forward at a time
    threads: Count | None = None  # of one forward; empty: the cores shared among `workers`
    max_batch_tokens: Count = 512  # padded tokens of one forward
    reading: CheckpointSpec

    @model_validator(mode="before")
    @classmethod
    def _split_reading(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "reading" in data:
            raise ValueError("a model is a mapping with `name`, `source` and a preset or the keys of docs/models.md")
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        reading = {key: value for key, value in data.items() if key not in cls.model_fields}
        return own | {"reading": with_preset(str(data.get("preset", "")), reading)}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            parse_source(self.source)
        except ModelError as error:
            raise ValueError(str(error)) from error
        if self.runtime == "onnx" and self.device != "cpu":
            raise ValueError("`runtime: onnx` computes on the CPU; take `torch` or `auto` for another device")
        return self


class SamplingDefaults(_Section):
    """For what a caller leaves unset."""

    max_tokens: Count = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    top_k: Count | None = None


class NoBackend(_Section):
    """Check only."""

    kind: Literal["none"] = "none"


class TransformersSettings(_Section):
    """The wrapped model runs in this process."""

    kind: Literal["transformers"] = "transformers"
    model: str = "smollm2-135m-instruct"
    device: str = "cpu"
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    max_concurrent: Count = 16
    threads: Count | None = None  # of torch; empty takes all cores
    sampling: SamplingDefaults = SamplingDefaults()


class OpenAISettings(_Section):
    """The wrapped model is behind an OpenAI-compatible server. Its address comes from here alone."""

    kind: Literal["openai"] = "openai"
    base_url: Annotated[str, Field(pattern=r"^https?://")]  # up to and with /v1
    model: str
    api_key_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: Seconds = 60.0
    max_connections: Count = 64
    max_response_bytes: Count = 4 << 20
    sampling: SamplingDefaults = SamplingDefaults()


BackendSettings = Annotated[NoBackend | TransformersSettings | OpenAISettings, Field(discriminator="kind")]


class PolicySettings(_Section):
    directory: Path = EMBEDDED_POLICIES  # every *.yaml in it is a policy
    default: str = "default"
    routes: dict[str, str] = {}  # caller's route -> policy


class RolloutSettings(_Section):
    """Versions of the reward model that can take over while serving."""

    directory: Path | None = None  # a folder of artefacts, and of who serves; empty allows no changes


class CalibrationSettings(_Section):
    """Thresholds that `wardgate calibrate` wrote, and the watch over the traffic they were made for."""

    directory: Path | None = None  # every *.json in it is a calibration
    drift_window: Annotated[int, Field(ge=50)] = 1000  # texts of one guard that are compared at a time
    # Chance that a window of unchanged traffic raises an alarm.
    drift_false_alarms: Annotated[float, Field(ge=1e-5, le=0.5)] = 0.001


class ExplanationSettings(_Section):
    """Explanations run in a process of their own, which the first one starts. They need torch."""

    preload: bool = False  # start that process with the server: some seconds of a core, and 400 MB from then on
    default_budget_s: Seconds = 2.0  # for callers that set none
    max_budget_s: Seconds = 30.0  # most that a caller may ask for
    view_budget_s: Seconds = 1.0  # most that a Check or Generate waits for the explanation it asked to see
    niceness: Annotated[int, Field(ge=0, le=19)] = 19  # of that process; at 19 it gets what live traffic leaves
    idle_s: Annotated[float, Field(ge=0)] = 0.01  # without a live request, before an explanation goes on
    min_share: Annotated[float, Field(gt=0, le=1)] = 0.5  # of the time, though live requests never rest
    threads: Count = Field(default_factory=lambda: max(1, min(2, os.cpu_count() or 1)))  # of one explanation
    hang_s: Seconds = 60.0  # beyond its budget; then the process is killed, and the next explanation starts another
    max_waiting: Count = 16  # explanations in the line; more are refused

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if self.default_budget_s > self.max_budget_s:
            raise ValueError("default_budget_s is over max_budget_s")
        return self


class StoreSettings(_Section):
    """The service's memory: a SQLite file for one replica, PostgreSQL for several."""

    # sqlite:////absolute/path.db or postgresql://user@host/database; empty takes a file in the user's data folder.
    url: Annotated[str, Field(validate_default=True)] = ""
    password_file: Path | None = None  # of PostgreSQL, read when the store opens; a password in `url` is refused
    max_connections: Count = 5  # to the database, of this replica
    connect_timeout_s: Seconds = 10.0  # then PostgreSQL is unreachable, or a SQLite file stays locked
    max_waiting: Count = 1024  # writes waiting for a commit; more are refused

    @field_validator("url")
    @classmethod
    def _names_a_database(cls, url: str) -> str:
        if not url:
            return f"sqlite:///{user_data_path('wardgate')}/wardgate.db"
        try:
            parts = urlsplit(url)
            well_formed = (parts.port or 1) > 0 and (parts.scheme != "postgresql" or "@" not in parts.path)
        except ValueError:
            well_formed = False
        if not well_formed:
            raise ValueError("is no URL; characters such as / and @ in a user's name are written %2F and %40")
        if parts.password is not None or {"password", "sslpassword"} & parse_qs(parts.query).keys():
            raise ValueError("holds a password, which would be shown with it; put it in a file: store.password_file")
        if parts.scheme not in ("sqlite", "postgresql"):
            raise ValueError("must begin with sqlite:/// and an absolute path, or with postgresql://")
        if parts.scheme == "sqlite" and not _ABSOLUTE_SQLITE.fullmatch(url):
            raise ValueError("needs an absolute path: four slashes, as in sqlite:////var/lib/wardgate/wardgate.db")
        return url

    @model_validator(mode="after")
    def _password_is_of_a_server(self) -> Self:
        if self.password_file and not self.url.startswith("postgresql"):
            raise ValueError("password_file goes with a url of postgresql://; a SQLite file has no password")
        return self


class ScheduleSettings(_Section):
    """When a suite of probes runs by itself."""

    suite: Name
    policy: str = ""  # attacked; empty is the default
    every: Annotated[timedelta, Field(ge=timedelta(minutes=1))] | None = None  # between two beginnings, as "24h"
    cron: Annotated[str, Field(min_length=1)] | None = None  # instead: minute hour day month weekday, in UTC
    jitter_s: Annotated[float, Field(ge=0)] = 0.0  # begin up to so much later, each replica at a time of its own
    budget_s: Seconds | None = None  # CPU time after which no unit is begun

    @field_validator("every", mode="before")
    @classmethod
    def _in_words(cls, every: Any) -> Any:
        if isinstance(every, str) and (match := _DURATION.fullmatch(every)):
            return timedelta(**{_UNITS[match["unit"]]: int(match["count"])})
        return every

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs one of `every` and `cron`")
        if self.cron is not None:
            try:
                CronSim(self.cron, datetime(2000, 1, 1, tzinfo=UTC))
            except CronSimError as error:
                raise ValueError("cron: five fields are needed, such as `30 3 * * *`") from error
        return self


class ProbingSettings(_Section):
    """The service attacks itself, in a process beside it that makes way for live requests."""

    suites: Path | None = None  # every *.yaml in it is a suite, beside the embedded ones or in the place of one
    schedules: tuple[ScheduleSettings, ...] = ()
    idle_s: Annotated[float, Field(ge=0)] = 0.2  # without a live request, before probing goes on
    # Of the time, though live requests never rest: at 0.01 about one request in a hundred finds a probe at work.
    min_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    unit_timeout_s: Seconds = 600.0  # of one unit at work; then its process is ended and tries again
    lease_s: Annotated[float, Field(ge=1)] = 15.0  # a replica that died is replaced after so long
    keep_runs: Count = 50  # ended runs of each suite

    @model_validator(mode="after")
    def _schedules_differ(self) -> Self:
        named = [(schedule.suite, schedule.policy) for schedule in self.schedules]
        if len(set(named)) != len(named):
            raise ValueError("schedules: two are of the same suite and policy")
        return self


class LogSettings(_Section):
    """Events with fields on standard error. User text is never among them."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="WARDGATE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    grpc: GrpcSettings = GrpcSettings()
    http: HttpSettings = HttpSettings()
    limits: LimitSettings = LimitSettings()
    admission: AdmissionSettings = AdmissionSettings()
    scoring: ScoringSettings = ScoringSettings()
    models: tuple[ModelSettings, ...] = ()
    backend: BackendSettings = TransformersSettings()
    policies: PolicySettings = PolicySettings()
    rollout: RolloutSettings = RolloutSettings()
    calibrations: CalibrationSettings = CalibrationSettings()
    explanations: ExplanationSettings = ExplanationSettings()
    store: StoreSettings = StoreSettings()
    probing: ProbingSettings = ProbingSettings()
    log: LogSettings = LogSettings()
    model_cache: Path = Field(default_factory=lambda: user_cache_path("wardgate") / "models")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment overrides the file, which arrives as init

    @model_validator(mode="after")
    def _models_have_names_of_their_own(self) -> Settings:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError("two of `models` have the same name")
        return self

    @model_validator(mode="after")
    def _tokens_need_tls(self) -> Settings:
        local = self.grpc.host in ("127.0.0.1", "localhost", "::1")
        for setting in ("tokens_file", "admin_tokens_file"):
            if getattr(self.grpc, setting) and not self.grpc.tls and not local:
                raise ValueError(f"grpc.{setting} without grpc.tls would send tokens in the clear; set grpc.tls too")
        return self


def settings_to_json(settings: Settings) -> str:
    """For another process of ours. Secrets stay in their files."""
    document = settings.model_dump(mode="json")
    # In a document, a model's reading stands among its other keys.
    for model in document["models"]:
        model.update(model.pop("reading"))
    return json.dumps(document)


def settings_from_json(document: str) -> Settings:
    """What `settings_to_json` gave, under the same environment."""
    return Settings(**json.loads(document))


def load_settings(file: Path | None) -> Settings:
    """Settings from `file` and the environment. Raises ConfigError naming the place and the mend."""
    document: Any = {}
    if file is not None:
        try:
            document = yaml.safe_load(file.read_bytes()) or {}
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
            raise ConfigError(f"{file}: not valid YAML: {error}") from error
        if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
            raise ConfigError(f"{file}: must be a mapping of settings")
    try:
        return Settings(**document)
    except ValidationError as error:
        raise ConfigError(f"{file or 'settings'}: {describe(error)}") from error
