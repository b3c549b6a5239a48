"""What the frozen encoder says of every text, computed once and kept on disk.

A cache file is named by everything its numbers depend on: encoder, tokenizer, normalizer,
windows, pooling and the texts. It is read memory-mapped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from guards.base import ScoreInput
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.rewards.encoding import EncodedSequence, TextEncoder, pad
from guards.rewards.manifest import EncoderSpec, PoolingSpec, WindowSpec
from guards.rewards.scoring_model import batches_by_length
from guards.rewards.torch_model import PooledEncoder, load_encoder

Progress = Callable[[str, int, int], None]  # what, done, total


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text to encode; `response` None is a prompt alone."""

    prompt: str
    response: str | None = None


@dataclass(frozen=True)
class Features:
    """`prompt` and `response` are [windows, width] float16; `rows[i]` are the windows of text i."""

    prompt: NDArray[np.float16]
    response: NDArray[np.float16]
    first: NDArray[np.int64]  # [texts]
    last: NDArray[np.int64]  # [texts]; equal to `first` for a text of one window


class FeatureCache:
    """Features of a fixed list of texts; `max_windows` of each, from both ends."""

    def __init__(
        self,
        cache_dir: Path,
        encoder_dir: Path,
        encoder: EncoderSpec,
        window: WindowSpec,
        pooling: PoolingSpec,
        max_windows: int = 2,
    ) -> None:
        self._cache_dir = cache_dir
        self._encoder_dir = encoder_dir
        self._window = window
        self._pooling = pooling
        self._max_windows = max_windows
        described = (encoder, window, pooling)
        self._setting = "\n".join(
            [*(part.model_dump_json() for part in described), NORMALIZER_VERSION, str(max_windows)]
        )

    def features(self, texts: Sequence[TextKey], progress: Progress) -> Features:
        """From disk if these very texts were encoded before; otherwise one pass of the encoder."""
        folder = self._cache_dir / self._digest(texts)
        if not (folder / "done").exists():
            self._compute(texts, folder, progress)
        names = ("prompt", "response", "first", "last")
        return Features(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))

    def _digest(self, texts: Sequence[TextKey]) -> str:
        digest = hashlib.sha256(self._setting.encode())
        for text in texts:
            # lengths in front keep ("ab", "c") and ("a", "bc") apart
            for part in (text.prompt, text.response if text.response is not None else "\x00none"):
                raw = part.encode(errors="surrogatepass")
                digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()[:32]

    def _compute(self, texts: Sequence[TextKey], folder: Path, progress: Progress) -> None:
        tokens = TextEncoder.from_file(self._encoder_dir / "tokenizer.json", self._window)
        sequences: list[EncodedSequence] = []
        first, last = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
        for row, text in enumerate(texts):
            response = None if text.response is None else normalize(text.response)
            encoded = tokens.encode(ScoreInput(normalize(text.prompt), response), self._max_windows)
            first[row] = len(sequences)
            sequences += encoded.sequences
            last[row] = len(sequences) - 1
        prompt, response_part = self._forward(sequences, progress)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "prompt.npy", prompt)
        np.save(folder / "response.npy", response_part)
        np.save(folder / "first.npy", first)
        np.save(folder / "last.npy", last)
        (folder / "done").touch()

    def _forward(
        self, sequences: Sequence[EncodedSequence], progress: Progress
    ) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        network = PooledEncoder(load_encoder(self._encoder_dir), self._pooling)
        shape = (len(sequences), network.width)
        prompt, response = np.zeros(shape, np.float16), np.zeros(shape, np.float16)
        done = 0
        with torch.inference_mode():
            for rows in batches_by_length(sequences, batch_tokens=2048):
                batch = pad([sequences[row] for row in rows])
                u, v = network(*map(torch.from_numpy, (batch.input_ids, batch.attention_mask, batch.segment_ids)))
                prompt[rows], response[rows] = u.numpy().astype(np.float16), v.numpy().astype(np.float16)
                done += len(rows)
                progress("encoding", done, len(sequences))
        return prompt, response
