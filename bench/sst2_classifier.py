"""Trains a small sentiment classifier on SST-2, for probes of a classifier that is no guard.

    python -m bench.sst2_classifier SST2.jsonl.gz FOLDER [--encoder ENCODER_FOLDER]

Writes a checkpoint folder of transformers (BertForSequenceClassification, labels negative and positive) that `models:`
can name, and prints its accuracy as JSON. Rows are {split: train | dev | test, label: 0 | 1, text}. Neither the data
nor the weights are ours to ship: SST-2 is for research.

The lower layers of the encoder stay as they are, and their states are computed once; the upper ones, the pooler and
the head are trained. `--rows` and `--layers` say how much of a core that takes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from service.config import load_settings
from service.models import ModelCache

_LABELS = ("negative", "positive")
_LONGEST = 64  # tokens; one sentence in a thousand is longer
_BATCH = 32
_SEED = 7
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class Batch:
    """States under the trained layers [B, T, D], and the mask [B, T] and labels [B] of their sentences."""

    states: Tensor
    mask: Tensor
    labels: Tensor


class UpperLayers(nn.Module):
    """The layers from `start` up, the pooler and the head: the part that is trained."""

    def __init__(self, model: Any, start: int) -> None:
        super().__init__()
        self.start = start
        self.layers = model.bert.encoder.layer[start:]
        self.pooler, self.dropout, self.classifier = model.bert.pooler, model.dropout, model.classifier

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        states = through(self.layers, states, mask)
        logits: Tensor = self.classifier(self.dropout(self.pooler(states)))
        return logits


def through(layers: Sequence[nn.Module], states: Tensor, mask: Tensor) -> Tensor:
    hidden = torch.zeros(mask.shape, dtype=states.dtype).masked_fill(mask == 0, torch.finfo(states.dtype).min)
    for layer in layers:
        out = layer(states, hidden[:, None, None, :])
        states = out[0] if isinstance(out, tuple) else out
    return states


def read_split(path: Path, split: str) -> list[tuple[str, int]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["text"], int(row["label"])) for row in rows if row["split"] == split]


def prepared(model: Any, tokenizer: Tokenizer, rows: Sequence[tuple[str, int]], start: int) -> list[Batch]:
    """In batches of like length, so that little is padding."""
    ordered = sorted(rows, key=lambda row: len(tokenizer.encode(row[0]).ids))
    batches = []
    tokenizer.enable_padding()
    for at in range(0, len(ordered), _BATCH):
        some = ordered[at : at + _BATCH]
        encoded = tokenizer.encode_batch([text for text, _ in some])
        mask = torch.tensor([one.attention_mask for one in encoded])
        with torch.no_grad():
            embedded = model.bert.embeddings(input_ids=torch.tensor([one.ids for one in encoded]))
            states = through(model.bert.encoder.layer[:start], embedded, mask)
        batches.append(Batch(states, mask, torch.tensor([label for _, label in some])))
    tokenizer.no_padding()
    return batches


def accuracy(upper: UpperLayers, batches: Sequence[Batch]) -> float:
    upper.eval()
    with torch.inference_mode():
        right = sum(int((upper(one.states, one.mask).argmax(-1) == one.labels).sum()) for one in batches)
    return right / sum(len(one.labels) for one in batches)


def train(upper: UpperLayers, batches: list[Batch], epochs: int, rate: float) -> None:
    steps = epochs * len(batches)
    optimizer = torch.optim.AdamW(upper.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    order = random.Random(_SEED)
    for epoch in range(epochs):
        upper.train()
        order.shuffle(batches)
        total = 0.0
        for batch in batches:
            loss = nn.functional.cross_entropy(upper(batch.states, batch.mask), batch.labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {total / len(batches):.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="read: splits train and dev")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", type=Path, help="folder of the encoder; the embedded one without it")
    parser.add_argument("--layers", type=int, default=2, help="how many of the upper layers are trained")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=7000, help="of the training split, drawn with a fixed seed")
    parser.add_argument("--rate", type=float, default=1e-4, help="the highest learning rate")
    given = parser.parse_args()
    torch.manual_seed(_SEED)
    torch.set_num_threads(1)
    settings = load_settings(None)
    source = given.encoder or ModelCache(settings.model_cache).path(settings.scoring.encoder)
    model: Any = BertForSequenceClassification.from_pretrained(
        str(source),
        local_files_only=True,
        id2label=dict(enumerate(_LABELS)),
        label2id={n: i for i, n in enumerate(_LABELS)},
    )
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_LONGEST)
    model.eval()
    upper = UpperLayers(model, len(model.bert.encoder.layer) - given.layers)
    began, started = time.process_time(), time.perf_counter()
    drawn = random.Random(_SEED).sample(rows := read_split(given.data, "train"), min(given.rows, len(rows)))
    training = prepared(model, tokenizer, drawn, upper.start)
    held_out = prepared(model, tokenizer, read_split(given.data, "dev"), upper.start)
    print(f"states ready after {time.perf_counter() - started:.0f} s", flush=True)
    train(upper, training, given.epochs, given.rate)
    reached = round(accuracy(upper, held_out), 4)
    model.eval()
    model.save_pretrained(given.folder)
    for name in _TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copy(source / name, given.folder / name)
    seconds = {"seconds": round(time.perf_counter() - started), "cpu_seconds": round(time.process_time() - began)}
    print(json.dumps({"dev_accuracy": reached, **seconds}))


if __name__ == "__main__":
    main()
