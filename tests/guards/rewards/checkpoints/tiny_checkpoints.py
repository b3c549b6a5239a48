"""Tiny random checkpoints of the architectures that the presets name, built here: nothing is downloaded.

Weights are drawn wide, so that another input gives another score.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"-_[](){}<>|/*#\n"
WORDS = ["Yes", "No", "safe", "unsafe"]
POSITIONS = 96
TOXIC_LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.4,
}
_DECODER = {**_SMALL, "num_key_value_heads": 2, "pad_token_id": 0}

# in the manner of each family, in words of our own
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' %}"
    "<think>\n\n</think>\n\n{% endif %}{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GRANITE_CHAT = (
    "<|start_of_role|>user<|end_of_role|>Risk {{ guardian_config.risk_name }}?\n"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}<start_of_turn>user\n{% for message in messages %}<start_of_turn>\n"
    "{{ message.content | trim }}\n<end_of_turn>\n{% endfor %}{{ guideline }}\n<end_of_turn>\n"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def write_bert(folder: Path, labels: list[str], seed: int = 0, **changes: Any) -> Path:
    """WordPiece with [CLS] and [SEP], two segments, as BERT."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS.lower(), *("##" + one for one in LETTERS.lower())]
    ids = {token: row for row, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(max_length=16)
    tokenizer.enable_padding(length=16)
    torch.manual_seed(seed)
    config = transformers.BertConfig(vocab_size=len(ids), **_labelled(labels), **{**_SMALL, **changes})
    return _save(folder, transformers.BertForSequenceClassification(config), tokenizer, {"unk_token": "[UNK]"})


def write_deberta(folder: Path, labels: list[str], seed: int = 0) -> Path:
    """Unigram whose vocabulary has the special tokens as pieces, relative positions, no segments, as DeBERTa-v3."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    pieces = [(token, 0.0) for token in special] + [(one, -6.0) for one in ["\u2581", *LETTERS]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", [("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    torch.manual_seed(seed)
    config = transformers.DebertaV2Config(
        vocab_size=len(pieces),
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        pooler_hidden_size=32,
        **_labelled(labels),
        **_SMALL,
    )
    return _save(folder, transformers.DebertaV2ForSequenceClassification(config), tokenizer, {"unk_token": "[UNK]"})


def write_roberta(folder: Path, labels: list[str], seed: int = 0) -> Path:
    """Byte-level BPE whose padding id is 1 and whose positions depend on it, as RoBERTa."""
    tokenizer, size = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    torch.manual_seed(seed)
    config = transformers.RobertaConfig(
        vocab_size=size,
        type_vocab_size=1,
        pad_token_id=1,
        **_labelled(labels),
        **{**_SMALL, "max_position_embeddings": POSITIONS + 2},
    )
    return _save(folder, transformers.RobertaForSequenceClassification(config), tokenizer, {"unk_token": "<unk>"})


def write_qwen3_reward(folder: Path, seed: int = 0, pad_token_id: int | None = 0) -> Path:
    """One logit over a causal model, with a chat template that uses an added token it does not call special."""
    tokenizer, size = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<think>", "</think>"])
    torch.manual_seed(seed)
    shape = {**_DECODER, "pad_token_id": pad_token_id}
    config = transformers.Qwen3Config(vocab_size=size, head_dim=8, **_labelled(["LABEL_0"]), **shape)
    return _save(folder, transformers.Qwen3ForSequenceClassification(config), tokenizer, {"chat_template": QWEN_CHAT})


def write_llama_guard(folder: Path, seed: int = 0) -> Path:
    tokenizer, size = _byte_level(["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=size, tie_word_embeddings=False, **_DECODER)
    return _save(folder, transformers.LlamaForCausalLM(config), tokenizer, {"bos_token": "<|begin_of_text|>"})


def write_granite_guardian(folder: Path, seed: int = 0) -> Path:
    """Logits are scaled behind the output layer, which shares its weights with the input's."""
    tokenizer, size = _byte_level(["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"])
    torch.manual_seed(seed)
    config = transformers.GraniteConfig(
        vocab_size=size, logits_scaling=4.0, embedding_multiplier=2.0, tie_word_embeddings=True, **_DECODER
    )
    return _save(folder, transformers.GraniteForCausalLM(config), tokenizer, {"chat_template": GRANITE_CHAT})


def write_shieldgemma(folder: Path, seed: int = 0) -> Path:
    """Gemma 2: capped attention and logits, and a window of attention shorter than a text."""
    tokenizer, size = _byte_level(["<pad>", "<bos>", "<start_of_turn>", "<end_of_turn>"])
    torch.manual_seed(seed)
    config = transformers.Gemma2Config(
        vocab_size=size, head_dim=8, sliding_window=8, query_pre_attn_scalar=8, **_DECODER
    )
    told = {"chat_template": GEMMA_CHAT, "bos_token": {"__type": "AddedToken", "content": "<bos>"}}
    return _save(folder, transformers.Gemma2ForCausalLM(config), tokenizer, told)


def _labelled(labels: list[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: row for row, label in enumerate(labels)}}


def _byte_level(special: list[str], added: list[str] | None = None) -> tuple[Tokenizer, int]:
    """Bytes, a few whole words by merges, and added tokens; special ones come first."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges, pieces = [], list(alphabet)
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                pieces.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    ids = {token: row for row, token in enumerate([*special, *pieces])}
    tokenizer = Tokenizer(models.BPE(ids, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in added or []])
    return tokenizer, tokenizer.get_vocab_size()


def _save(folder: Path, model: Any, tokenizer: Tokenizer, told: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": int(1e30), **told})
    )
    return folder
