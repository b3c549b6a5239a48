"""Turns a GGUF file into plain safetensors, once, so that serving neither dequantizes nor needs gguf."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guards.errors import ModelError


def convert_gguf(gguf: Path, target: Path, progress: bool) -> None:
    """Writes bf16 weights, configuration and tokenizer (with its chat template) to `target`. About half a minute."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise ModelError("converting a GGUF model needs torch, transformers, gguf; install wardgate[local]") from error
    with _progress_bars(progress and sys.stderr.isatty()):
        # Packed weights are the default and cannot be saved as safetensors.
        dense = GgufConfig(dequantize=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=dense
        )
        # The conversion puts the file's own name in here.
        model.config.name_or_path = ""
        model.to(torch.bfloat16).save_pretrained(target)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)


@contextmanager
def _progress_bars(shown: bool) -> Iterator[None]:
    from transformers.utils import logging as library

    logging: Any = library
    were_shown = logging.is_progress_bar_enabled()
    if not shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_shown:
            logging.enable_progress_bar()
