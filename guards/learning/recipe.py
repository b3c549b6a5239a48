"""The training recipe: one YAML file that, with the data it names, fixes the trained bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from guards.errors import ConfigError
from guards.rewards.manifest import AdapterSpec, EncoderSpec, Kind, PoolingSpec, WindowSpec


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Part):
    """One file of rows. `cap`: at most this many rows of each source and label, drawn with the seed."""

    path: str  # relative to the recipe
    licence: str
    cap: int = Field(default=1000, ge=1)
    caps: dict[str, int] = {}  # by source, instead of `cap`
    exclude: tuple[str, ...] = ()  # sources that are left out
    parts: int = Field(default=1, ge=1, le=9)  # split each source by conversation into source#1, source#2 ...


class Made(_Part):
    """How many made-up rows (guards/learning/contrast.py)."""

    prompts_per_family: int = Field(default=60, ge=0)
    everyday: int = Field(default=150, ge=0)
    harmful_requests: int = Field(default=120, ge=0)
    pairs_per_source: int = Field(default=150, ge=0)
    answer_sources: tuple[str, ...] = ()  # of responses to harmless prompts: each gets a refusal to be better than
    in_company_per_source: int = Field(default=0, ge=0)  # of each source and label: again, among ordinary sentences
    sentences_per_source: int = Field(default=0, ge=0)  # of each source's harmless texts: some sentences on their own
    sentences_of_replies: tuple[str, ...] = ()  # sources of safe responses whose sentences are taken, too


class Disguise(_Part):
    """Rows that are trained on once more under an evasion technique (guards/probes/transformations)."""

    per_source: int = Field(default=0, ge=0)  # of each source and label
    transformations: tuple[str, ...] = ()  # each row gets one of them, drawn with the seed

    @model_validator(mode="after")
    def _has_something_to_do(self) -> Disguise:
        if self.per_source and not self.transformations:
            raise ValueError("disguise.per_source needs disguise.transformations")
        return self


COMPANY = "+company"  # after a source's name: its prompts again, among ordinary sentences
ALONE = "+alone"  # after a source's name: single sentences of its harmless texts
DISGUISED = "+disguised"  # after a source's name: its prompts again, under an evasion technique
# replies by template to a source's prompts, as parts of these: `made_answers#kitchen`
MADE_REPLIES = MADE_ANSWERS, MADE_REFUSALS, READ_REFUSALS = "made_answers", "made_refusals", "read_refusals"


class Fold(_Part):
    """Sources that are held out together, of all heads; each with what is made of its prompts.

    That is: its prompts in company and in disguise, its sentences, and replies to its prompts by template.
    """

    name: str
    sources: tuple[str, ...]

    @field_validator("sources")
    @classmethod
    def _with_variants(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        variants = (f"{source}{variant}" for source in sources for variant in (COMPANY, ALONE, DISGUISED))
        return (*sources, *variants, *(f"{reply}#{source}" for source in sources for reply in MADE_REPLIES))


def origin(source: str) -> str:
    """A source without its part and variant: `advbench` of `advbench+company`, `hh` of `hh#2`."""
    return source.split("#", maxsplit=1)[0].split("+", maxsplit=1)[0]


def in_figures(source: str) -> str:
    """A source as figures name it: replies by template are told together, whosever prompts they are to."""
    return origin(source) if origin(source) in MADE_REPLIES else source


class Shares(_Part):
    """How the pairs of an epoch are shared out among kinds of pairs that it has any of."""

    ordinary: float = Field(default=1, gt=0)
    safe: float = Field(default=1, gt=0)  # refusal pairs where the answer should win
    unsafe: float = Field(default=1, gt=0)  # refusal pairs where the refusal should


class LinearTerm(_Part):
    """A linear map beside a head's network, learned from few sources (guards/learning/linear_term.py)."""

    sources: tuple[str, ...] = Field(min_length=1)  # whose labels and pairs teach it, all parts of them
    share: float = Field(gt=0, lt=1)  # of the deviation of rewards on the anchor, the network's and its own added up
    ridge: float = Field(default=3.0, gt=0)
    pairs: float = Field(default=1.0, ge=0)  # what a pair counts for; a label counts for 1
    others: float = Field(default=1.0, ge=0)  # what its square output on a row or pair of other sources counts for


class HeadRecipe(_Part):
    """One head: which rows teach it. `labels` and `pairs` are examples seen in an epoch, whatever the files hold."""

    input: Kind
    threshold: float = Field(default=0.5, gt=0, lt=1)  # risk from which the shipped policy withholds: for the figures
    labels: int = Field(default=0, ge=0)  # half of them safe, half unsafe
    pairs: int = Field(default=0, ge=0)
    shares: Shares = Shares()
    pair_sources: tuple[str, ...] = ()  # whose pairs, all parts of them; a source may teach several heads
    hidden: int = Field(default=32, ge=1)  # units of each member
    linear: LinearTerm | None = None

    @model_validator(mode="after")
    def _learns_something(self) -> HeadRecipe:
        if not self.labels and not self.pairs:
            raise ValueError("a head needs labels or pairs")
        if bool(self.pairs) != bool(self.pair_sources):
            raise ValueError("pairs and pair_sources go together")
        if self.pairs and self.input == "prompt":
            raise ValueError("pairs are of responses; a head with input prompt cannot have them")
        if self.linear and not (self.labels and self.pairs):
            raise ValueError("linear needs a head with labels and pairs")
        return self


class Training(_Part):
    """How the adapter and the heads learn, together."""

    epochs: int = Field(default=4, ge=1)  # at most; the held-out folds choose when to stop
    first_epoch: int = Field(default=1, ge=1)  # earliest that they may choose; scoring them costs half an epoch
    batch_tokens: int = Field(default=2048, ge=64)  # padded tokens of one batch
    batches_a_step: int = Field(default=2, ge=1)  # whose gradients are added up
    learning_rate: float = Field(default=5e-4, gt=0)  # of the adapter
    head_learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: float = Field(default=0.1, ge=0, le=0.5)  # share of all steps
    members: int = Field(default=4, ge=1)  # heads that learn side by side; their spread is the uncertainty
    dropout: float = Field(default=0.2, ge=0, lt=1)
    smoothing: float = Field(default=0.05, ge=0, lt=0.5)  # share of labels and pairs taken to be wrong
    margins: dict[str, float] = {}  # by source of pairs: how much better the chosen one must be, in reward
    heads_only: tuple[str, ...] = ()  # sources of pairs that teach the heads and not the adapter

    @model_validator(mode="after")
    def _can_stop(self) -> Training:
        if self.first_epoch > self.epochs:
            raise ValueError("first_epoch must not be after the last of the epochs")
        return self


class Recipe(_Part):
    name: str
    version: str
    seed: int
    encoder: EncoderSpec
    window: WindowSpec
    pooling: PoolingSpec
    adapter: AdapterSpec
    max_windows: int = Field(default=1, ge=1)  # of a text that is scored, from both ends; the first is learned from
    files: tuple[DataFile, ...] = Field(min_length=1)
    made: Made = Made()
    disguise: Disguise = Disguise()
    anchor: str  # file of rows, relative to the recipe: rewards are scaled so that on it every version looks alike
    weights: dict[str, float] = {}  # of a source and its variants in what an epoch draws; 1 where it is not named
    heads: dict[str, HeadRecipe] = Field(min_length=1)
    training: Training = Training()
    folds: tuple[Fold, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _layers_fit(self) -> Recipe:
        if min(self.pooling.layers) < self.adapter.first_layer:
            raise ValueError("pooling.layers must not lie below adapter.first_layer: those states are not kept")
        if self.pooling.token_types:
            raise ValueError("pooling.token_types is not supported in training")
        return self

    @model_validator(mode="after")
    def _linear_terms_have_their_layer(self) -> Recipe:
        if self.adapter.first_layer not in self.pooling.layers and any(head.linear for head in self.heads.values()):
            raise ValueError("linear reads the states below the adapter: pooling.layers needs adapter.first_layer")
        return self

    @model_validator(mode="after")
    def _heads_only_names_pairs(self) -> Recipe:
        unknown = set(self.training.heads_only).difference(*(head.pair_sources for head in self.heads.values()))
        if unknown:
            raise ValueError(
                f"training.heads_only names {', '.join(sorted(unknown))}, which no head's pair_sources has"
            )
        return self


def load_recipe(path: Path) -> tuple[Recipe, str]:
    """The recipe and its sha256. Raises ConfigError that says what is wrong."""
    try:
        raw = path.read_bytes()
        return Recipe.model_validate(yaml.safe_load(raw)), hashlib.sha256(raw).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path} is not a training recipe: {error}") from error
