"""A generative guard: a language model asked whether a text is safe, read at the first token of its answer.

Source: Llama Guard (Inan et al. 2023, arXiv:2312.06674) takes the probability of the first answer token as its score;
Granite Guardian (arXiv:2412.07724) and ShieldGemma (arXiv:2407.21772) do so too, over their two answers only:
`risk = p(unsafe) / (p(safe) + p(unsafe))`, which is `sigmoid(logit(unsafe) - logit(safe))`. Nothing is generated.
Departure: spellings of an answer other than the configured one do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guards.errors import ModelError
from guards.rewards.checkpoints.files import CheckpointFiles
from guards.rewards.checkpoints.plain_text import template_tokenizer
from guards.rewards.checkpoints.readout import Readout
from guards.rewards.checkpoints.spec import CheckpointSpec

if TYPE_CHECKING:
    from guards.rewards.checkpoints.network import Network


def open_generative(name: str, spec: CheckpointSpec, files: CheckpointFiles) -> Readout:
    """One head with the model's name."""
    tokenizer = template_tokenizer(files)
    answers = [tokenizer.encode(text, add_special_tokens=False).ids for text in (spec.safe_answer, spec.unsafe_answer)]
    if not all(answers) or answers[0][0] == answers[1][0]:
        raise ModelError(f"the answers of {files.folder} begin with the same token; check `safe_answer`")
    safe, unsafe = answers[0][0], answers[1][0]

    def load(attention: str | None) -> Network:
        from guards.rewards.checkpoints.network import load_answer_network

        return load_answer_network(files.folder, safe, unsafe, attention)

    return Readout((name,), load)
