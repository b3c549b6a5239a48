"""The files of a checkpoint, as the Hugging Face libraries save them: checked, and named by one digest.

Nothing in them is run: no pickle is read, and no code of the checkpoint is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards.errors import ModelError
from guards.rewards.manifest import file_sha256

_READ = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_UNBOUNDED = 1_000_000  # tokenizers without a limit of their own state a huge one


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """`digest`: sha256 over the digests of the configuration, weights and tokenizer files."""

    folder: Path
    config: Mapping[str, Any]
    tokenizer_config: Mapping[str, Any]
    tokenizer: str  # tokenizer.json
    chat_template: str  # empty when there is none
    digest: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classifier's outputs, in order."""
        named = self.config.get("id2label")
        if isinstance(named, dict) and named:
            return tuple(str(named[key]) for key in sorted(named, key=int))
        outputs = self.config.get("num_labels", 2)  # transformers leaves out what is its default
        return tuple(f"LABEL_{index}" for index in range(int(outputs)))

    @property
    def max_tokens(self) -> int | None:
        """The most tokens that the model takes at once, by its own files."""
        positions = self.config.get("max_position_embeddings")
        limits = []
        if isinstance(positions, int):
            # RoBERTa and its kin begin to count positions behind the padding token
            shifted = self.config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
            limits.append(positions - 2 if shifted else positions)
        stated = self.tokenizer_config.get("model_max_length")
        if isinstance(stated, int) and 0 < stated < _UNBOUNDED:
            limits.append(stated)
        return min(limits, default=None)

    def special_token(self, name: str) -> str:
        """As `bos_token`; empty when the tokenizer has none."""
        token = self.tokenizer_config.get(name)
        return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def open_checkpoint_files(folder: Path) -> CheckpointFiles:
    """Raises ModelError naming the file and the mend."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        _refuse_weights(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json; write it once with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    tokenizer_config = _mapping(folder / "tokenizer_config.json", optional=True)
    return CheckpointFiles(
        folder=folder,
        config=_mapping(folder / "config.json"),
        tokenizer_config=tokenizer_config,
        tokenizer=_text(folder / "tokenizer.json"),
        chat_template=_chat_template(folder, tokenizer_config),
        digest=_digest(folder, weights),
    )


def _refuse_weights(folder: Path) -> None:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder} has its weights in {pickles[0]} only, which is a pickle: loading one runs code. "
            "Convert it to safetensors on a machine where that does no harm "
            "(transformers: model.save_pretrained(FOLDER)), or take a revision that has *.safetensors"
        )
    raise ModelError(f"{folder} has no *.safetensors; check the model's source, then run: wardgate models pull")


def _mapping(path: Path, optional: bool = False) -> Mapping[str, Any]:
    if optional and not path.is_file():
        return {}
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON; fetch the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object; fetch the model again")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read {path}; check the model's source, then run: wardgate models pull") from error


def _chat_template(folder: Path, tokenizer_config: Mapping[str, Any]) -> str:
    """A file of its own, or in the tokenizer's configuration: one, or a list with one called default."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return _text(path)
    stated = tokenizer_config.get("chat_template")
    if isinstance(stated, list):
        named = {str(one.get("name")): str(one.get("template", "")) for one in stated if isinstance(one, dict)}
        return named.get("default", "")
    return str(stated or "")


def _digest(folder: Path, weights: list[Path]) -> str:
    there = [folder / name for name in _READ if (folder / name).is_file()]
    read = sorted({*there, *weights, *folder.glob("*.safetensors.index.json")})
    lines = "".join(f"{path.name} {file_sha256(path)}\n" for path in read)
    return hashlib.sha256(lines.encode()).hexdigest()
