from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from guards.probes.sentence_vectors import SentenceVectors
from tests.guards.rewards.tiny_model import write_encoder


def test_an_encoder_offers_its_whole_words_with_their_input_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    write_encoder(folder)
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    vocabulary = document["model"]["vocab"]
    for letter, word in {"a": "film", "b": "movie", "c": "caf\u00e9", "d": "ox", "##e": "##tion"}.items():
        vocabulary[word] = vocabulary.pop(letter)
    path.write_text(json.dumps(document))
    words = SentenceVectors(folder).words()
    ((other, cosine),) = words.nearest("film", 5)
    assert other == "movie"
    assert words.nearest("ox", 5) == []
    matrix = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    film, movie = matrix[vocabulary["film"]], matrix[vocabulary["movie"]]
    assert cosine == pytest.approx(film @ movie / ((film @ film) * (movie @ movie)) ** 0.5, abs=1e-5)
