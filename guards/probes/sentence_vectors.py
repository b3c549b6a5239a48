"""Sentence vectors of an encoder: the mean of its last states, of length 1.

Source: Reimers and Gurevych 2019, "Sentence-BERT" (arXiv:1908.10084).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guards.probes.words.vectors import WordVectors
from guards.rewards.torch_model import load_encoder

_LONGEST = 256  # tokens; longer texts are compared by their start
_AT_ONCE = 16


class SentenceVectors:
    """Lives on one thread."""

    def __init__(self, encoder_dir: Path) -> None:
        """Raises ModelError when the folder holds no encoder."""
        self._encoder = load_encoder(encoder_dir)
        self._tokenizer = Tokenizer.from_file(str(encoder_dir / "tokenizer.json"))
        self._tokenizer.enable_truncation(_LONGEST)
        self._tokenizer.enable_padding()

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, width]; of an empty text the vector of its special tokens."""
        parts = [self._some(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty((0, self._encoder.config.hidden_size), np.float32)

    def words(self) -> WordVectors:
        """The input vectors of every whole word of three or more plain letters."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        named = {word: at for word, at in vocabulary.items() if len(word) > 2 and word.isascii() and word.isalpha()}
        vectors: Any = self._encoder.get_input_embeddings()  # transformers leaves it untyped
        return WordVectors(tuple(named), vectors.weight.numpy()[list(named.values())])

    def _some(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded])
        mask = torch.tensor([one.attention_mask for one in encoded])
        with torch.inference_mode():
            states = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        mean = (states * weights).sum(1) / weights.sum(1)
        return np.asarray(torch.nn.functional.normalize(mean, dim=-1).numpy(), dtype=np.float32)
