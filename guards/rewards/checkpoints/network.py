"""Checkpoints in torch: token batch in, rewards [batch, heads] out. What is exported to ONNX, and served by torch.

Causal models are read at the last token that is no padding, found by the attention mask: transformers finds it by the
padding token's id, which is wrong for a text that ends in that token and impossible without one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.utils import logging as library

from guards.errors import ModelError


class RewardLogit(nn.Module):
    """The one logit [B, 1] is the reward."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits


class SoftmaxRisk(nn.Module):
    """-logit of the summed probability of each group's labels; stable for any logits."""

    def __init__(self, groups: Sequence[tuple[int, ...]], labels: int) -> None:
        super().__init__()
        self.groups = [(list(group), [one for one in range(labels) if one not in group]) for group in groups]

    def forward(self, logits: Tensor) -> Tensor:
        columns = [logits[:, safe].logsumexp(-1) - logits[:, risky].logsumexp(-1) for risky, safe in self.groups]
        return torch.stack(columns, dim=-1)


class SigmoidRisk(nn.Module):
    """-logit of the likeliest of each group's labels."""

    def __init__(self, groups: Sequence[tuple[int, ...]], labels: int) -> None:
        super().__init__()
        self.groups = [list(group) for group in groups]

    def forward(self, logits: Tensor) -> Tensor:
        return torch.stack([-logits[:, group].amax(-1) for group in self.groups], dim=-1)


class Network(nn.Module, ABC):
    """What every kind promises; `vocabulary` bounds the token ids it takes."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        padding = model.config.get_text_config().pad_token_id
        self.padding = int(padding) if isinstance(padding, int) and padding >= 0 else 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Tensor:
        """Rewards [B, heads] in fp32. Padding is on the right, with any id: the model gets its own."""
        ids = input_ids.masked_fill(attention_mask == 0, self.padding)
        return self.rewards({"input_ids": ids}, attention_mask, segment_ids)

    def embedded(self, embeddings: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Tensor:
        """The same from word vectors [B, T, D] in the tokens' place."""
        return self.rewards({"inputs_embeds": embeddings}, attention_mask, segment_ids)

    @abstractmethod
    def rewards(self, tokens: Mapping[str, Tensor], mask: Tensor, segments: Tensor) -> Tensor:
        """[B, heads]; `tokens` are `input_ids`, padded with the model's own id, or `inputs_embeds`."""


class EncoderNetwork(Network):
    """A classification head that does its own pooling."""

    def __init__(self, model: PreTrainedModel, readout: nn.Module) -> None:
        super().__init__(model)
        self.readout = readout
        self.takes_segments = getattr(model.config, "type_vocab_size", 0) > 1

    def rewards(self, tokens: Mapping[str, Tensor], mask: Tensor, segments: Tensor) -> Tensor:
        segmented = {"token_type_ids": segments} if self.takes_segments else {}
        logits: Tensor = self.model(**tokens, attention_mask=mask, **segmented).logits
        result: Tensor = self.readout(logits.float())
        return result


class LastTokenNetwork(Network):
    """A classification head over a causal model's last token."""

    def __init__(self, model: PreTrainedModel, readout: nn.Module) -> None:
        super().__init__(model)
        self.readout = readout

    def rewards(self, tokens: Mapping[str, Tensor], mask: Tensor, segments: Tensor) -> Tensor:
        hidden = self.model.base_model(**tokens, attention_mask=mask, use_cache=False).last_hidden_state
        result: Tensor = self.readout(self.model.score(last_token(hidden, mask)).float())
        return result


class AnswerNetwork(Network):
    """A language model whose output layer knows two tokens: safe and unsafe."""

    def __init__(self, model: PreTrainedModel, safe: int, unsafe: int) -> None:
        super().__init__(model)
        whole: Any = self.model.get_output_embeddings()
        answers = nn.Linear(whole.weight.shape[1], 2, bias=getattr(whole, "bias", None) is not None)
        answers.to(whole.weight.dtype)
        with torch.no_grad():
            answers.weight.copy_(whole.weight[[safe, unsafe]])
            if whole.bias is not None:
                answers.bias.copy_(whole.bias[[safe, unsafe]])
        # inside the model, so that its own scaling and capping of logits still applies
        self.model.set_output_embeddings(answers.requires_grad_(False))
        if self.model.get_output_embeddings() is not answers:
            raise ModelError(f"{type(model).__name__} has no output layer of its own; it cannot be a generative guard")

    def rewards(self, tokens: Mapping[str, Tensor], mask: Tensor, segments: Tensor) -> Tensor:
        logits = self.model(**tokens, attention_mask=mask, use_cache=False).logits
        answer = last_token(logits, mask).float()
        return answer[:, :1] - answer[:, 1:]


def last_token(values: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] and a 0/1 mask [B, T], padded on the right -> [B, D]."""
    rows = torch.arange(values.shape[0], device=values.device)
    return values[rows, mask.sum(1) - 1]


def load_sequence_network(folder: Path, readout: nn.Module, attention: str | None) -> Network:
    """Any `...ForSequenceClassification`, in fp32 on the CPU."""
    model = _load(AutoModelForSequenceClassification.from_pretrained, folder, attention)
    causal = isinstance(model, GenericForSequenceClassification)
    return _frozen((LastTokenNetwork if causal else EncoderNetwork)(model, readout))


def load_answer_network(folder: Path, safe: int, unsafe: int, attention: str | None) -> Network:
    """Any `...ForCausalLM`, in fp32 on the CPU."""
    return _frozen(AnswerNetwork(_load(AutoModelForCausalLM.from_pretrained, folder, attention), safe, unsafe))


def _load(load: Callable[..., Any], folder: Path, attention: str | None) -> PreTrainedModel:
    """From local safetensors, without remote code. Raises ModelError, also for weights that would be random."""
    try:
        with _no_progress_bars():
            model, found = load(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation=attention,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ModelError(
            f"transformers cannot load {folder} ({type(error).__name__}: {first_line(error)}); "
            "check `kind` and the model's files"
        ) from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder} has no weights for {missing[0]}; a checkpoint for something else? check `kind` and `source`"
        )
    loaded: PreTrainedModel = model
    return loaded


def first_line(error: Exception) -> str:
    """Of a library's error, which may list half the library."""
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


def _frozen(network: Network) -> Network:
    network.eval().requires_grad_(False)
    return network


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Those of loading, which would break up the log."""
    logging: Any = library  # transformers leaves these untyped
    were_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_shown:
            logging.enable_progress_bar()
