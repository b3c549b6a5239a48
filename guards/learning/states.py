"""What the encoder's lower layers say of every text: computed once, kept on disk, never changed by training.

Training adapts the upper layers only, so everything below is the same in every epoch, fold and seed. A cache folder
is named by all that its numbers depend on: encoder, tokenizer, normalizer, windows, layer and texts; `done` is
written last. It is read memory-mapped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from guards.base import ScoreInput
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.rewards.encoding import EncodedSequence, TextEncoder, pad
from guards.rewards.manifest import EncoderSpec, WindowSpec
from guards.rewards.scoring_model import batches_by_length
from guards.rewards.torch_model import lower_states

Progress = Callable[[str, int, int], None]  # what, done, total
Ints = NDArray[np.int64]

_FORMAT = "2"  # raise when what is kept changes, so that old states are not used
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text to encode; `response` None is a prompt alone."""

    prompt: str
    response: str | None = None


@dataclass(frozen=True)
class States:
    """Hidden states of windows, one after the other; window w is tokens [start[w], start[w] + length[w])."""

    hidden: NDArray[np.float16]  # [tokens, width]
    segments: NDArray[np.int8]  # [tokens]: 1 on response tokens
    start: Ints  # [windows]
    length: Ints  # [windows]
    first: Ints  # [texts]: a text's first window
    count: Ints  # [texts]: its windows and sentences, one after the other from the first on
    tokens: Ints  # [texts]: how long it is, special tokens and a response's prompt aside

    def windows_of(self, texts: Ints) -> Ints:
        """All windows and sentences of some texts, text after text."""
        count = self.count[texts]
        before = np.cumsum(count) - count
        return np.asarray(np.arange(int(count.sum())) + np.repeat(self.first[texts] - before, count))

    def batch(self, windows: Ints, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """(hidden [B, T, width] fp32, mask [B, T], segments [B, T]) of some windows, padded to the longest."""
        longest = int(self.length[windows].max())
        hidden = np.zeros((len(windows), longest, self.hidden.shape[1]), dtype=np.float16)
        mask = np.zeros((len(windows), longest), dtype=np.int64)
        segments = np.zeros((len(windows), longest), dtype=np.int64)
        for row, window in enumerate(windows):
            start, n = int(self.start[window]), int(self.length[window])
            hidden[row, :n] = self.hidden[start : start + n]
            mask[row, :n] = 1
            segments[row, :n] = self.segments[start : start + n]
        return (
            torch.from_numpy(hidden).to(device).float(),
            torch.from_numpy(mask).to(device),
            torch.from_numpy(segments).to(device),
        )


class StateCache:
    """States of fixed lists of texts: at most `max_windows` windows of each, from both ends, and their sentences."""

    def __init__(
        self,
        cache_dir: Path,
        encoder_dir: Path,
        encoder: EncoderSpec,
        window: WindowSpec,
        layers: int,
        max_windows: int,
        device: torch.device,
    ) -> None:
        self._cache_dir = cache_dir
        self._encoder_dir = encoder_dir
        self._window = window
        self._layers = layers
        self._max_windows = max_windows
        self._device = device
        described = [_FORMAT, encoder.model_dump_json(), window.model_dump_json(), NORMALIZER_VERSION]
        self._setting = "\n".join([*described, str(layers), str(max_windows), device.type])

    def states(self, model: PreTrainedModel, texts: Sequence[TextKey], progress: Progress) -> States:
        """From disk if these very texts were encoded before; otherwise one pass of the lower layers."""
        folder = self._cache_dir / self._digest(texts)
        if not (folder / "done").exists():
            self._compute(model, texts, folder, progress)
        names = ("hidden", "segments", "start", "length", "first", "count", "tokens")
        return States(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))

    def _digest(self, texts: Sequence[TextKey]) -> str:
        digest = hashlib.sha256(self._setting.encode())
        for text in texts:
            # lengths in front keep ("ab", "c") and ("a", "bc") apart
            for part in (text.prompt, text.response if text.response is not None else "\x00none"):
                raw = part.encode(errors="surrogatepass")
                digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()[:32]

    def _compute(self, model: PreTrainedModel, texts: Sequence[TextKey], folder: Path, progress: Progress) -> None:
        tokens = TextEncoder.from_file(self._encoder_dir / "tokenizer.json", self._window)
        sequences: list[EncodedSequence] = []
        first, count, judged = (np.empty(len(texts), np.int64) for _ in range(3))
        for row, text in enumerate(texts):
            response = None if text.response is None else normalize(text.response)
            encoded = tokens.encode(ScoreInput(normalize(text.prompt), response), self._max_windows)
            first[row], count[row] = len(sequences), len(encoded.sequences)
            judged[row] = encoded.coverage.tokens_total
            sequences += encoded.sequences
        length = np.array([len(sequence) for sequence in sequences], np.int64)
        start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        width = int(model.config.hidden_size)
        shape = (int(length.sum()), width)
        hidden = np.lib.format.open_memmap(folder / "hidden.npy", mode="w+", dtype=np.float16, shape=shape)
        self._forward(model, sequences, start, hidden, progress)
        hidden.flush()
        segments = np.concatenate([sequence.segment_ids for sequence in sequences]).astype(np.int8)
        for name, array in (("segments", segments), ("start", start), ("length", length)):
            np.save(folder / f"{name}.npy", array)
        np.save(folder / "first.npy", first)
        np.save(folder / "count.npy", count)
        np.save(folder / "tokens.npy", judged)
        (folder / "done").touch()

    def _forward(
        self,
        model: PreTrainedModel,
        sequences: Sequence[EncodedSequence],
        start: Ints,
        hidden: NDArray[np.float16],
        progress: Progress,
    ) -> None:
        done = 0
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=torch.bfloat16):
            for rows in batches_by_length(sequences, _BATCH_TOKENS):
                batch = pad([sequences[row] for row in rows])
                ids, mask = (
                    torch.from_numpy(part).to(self._device) for part in (batch.input_ids, batch.attention_mask)
                )
                states = lower_states(model, ids, mask, self._layers).half().cpu().numpy()
                for at, row in enumerate(rows):
                    n = len(sequences[row])
                    hidden[start[row] : start[row] + n] = states[at, :n]
                done += len(rows)
                progress("encoding", done, len(sequences))
