"""Each family gets its languages in its own way, with real tokenizers and tiny models."""

import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    NllbTokenizer,
)

from hybrid_ir.translation.families import Translator, detect_family
from tests.support.number_words import build_tokenizer

SENTENCES = [
    "who won the cup in the year",
    "what money do people pay with in Kabul",
    "wer gewann den Pokal",
    "où est la ville",
] * 20
SMALL = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> Path:
    """The file of a small SentencePiece model."""
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "texts").write_text("\n".join(SENTENCES))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"),
        model_prefix=str(folder / "s"),
        vocab_size=34,
        character_coverage=1.0,
        minloglevel=2,
    )
    return folder / "s.model"


def list_words(pieces: Path) -> list[str]:
    """Lists the pieces without the three special ones."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    return [model.id_to_piece(number) for number in range(3, model.vocab_size())]


def write_vocabulary(folder: Path, words: list[str]) -> None:
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))


def save_nllb(folder: Path) -> Path:
    tokenizer = NllbTokenizer(src_lang="eng_Latn")
    tokenizer.save_pretrained(folder)
    config = M2M100Config(vocab_size=len(tokenizer) + 8, tokenizer_class="NllbTokenizer", **SMALL)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def save_m2m100(folder: Path, pieces: Path) -> Path:
    folder.mkdir()
    (folder / "sentencepiece.bpe.model").write_bytes(pieces.read_bytes())
    write_vocabulary(folder, ["<s>", "<pad>", "</s>", "<unk>", *list_words(pieces)])
    settings = {"tokenizer_class": "M2M100Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    save_m2m100_weights(folder)
    return folder


def save_m2m100_weights(folder: Path) -> None:
    config = M2M100Config(vocab_size=300, **SMALL)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)


def save_marian(folder: Path, pieces: Path, *language_tokens: str) -> Path:
    folder.mkdir()
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(pieces.read_bytes())
    words = ["</s>", "<unk>", *list_words(pieces), *language_tokens, "<pad>"]
    write_vocabulary(folder, words)
    settings = {"source_lang": "eng", "target_lang": "mul"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = MarianConfig(
        vocab_size=len(words),
        pad_token_id=len(words) - 1,
        decoder_start_token_id=len(words) - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
        **SMALL,
    )
    MarianMTModel(config).save_pretrained(folder)
    return folder


def load_translator(folder: Path, source: str = "en", **codes: str) -> Translator:
    return Translator.load(str(folder), None, source, "cpu", "float32", codes=codes, max_length=60)


def list_tokens(translator: Translator, language: str, monkeypatch) -> tuple[list[str], str | None]:
    """Returns the tokens that a model reads, and the first one that it must write."""
    inputs = {}

    def generate(input_ids, attention_mask, forced_bos_token_id=None, **_):
        inputs["ids"] = input_ids[0].tolist()
        inputs["first"] = forced_bos_token_id
        return torch.zeros((len(input_ids), 2), dtype=torch.long)

    monkeypatch.setattr(translator.model, "generate", generate)
    translator.translate(["who won the cup"], language)
    tokens = translator.tokenizer.convert_ids_to_tokens(inputs["ids"])
    if inputs["first"] is None:
        return tokens, None
    return tokens, translator.tokenizer.convert_ids_to_tokens(inputs["first"])


def test_nllb_reads_the_source_language_and_must_write_the_other(tmp_path, monkeypatch):
    translator = load_translator(save_nllb(tmp_path / "m"), "de")
    tokens, first = list_tokens(translator, "zh", monkeypatch)
    assert translator.family == "nllb"
    assert tokens[0] == "deu_Latn"
    assert tokens[-1] == "</s>"
    assert first == "zho_Hans"


def test_a_code_of_nllb_may_be_chosen_and_an_unknown_one_is_refused(tmp_path):
    folder = save_nllb(tmp_path / "m")
    assert load_translator(folder, zh="zho_Hant").get_code("zh") == "zho_Hant"
    assert load_translator(folder).get_code("glg_Latn") == "glg_Latn"
    problem = "this nllb model has no code for '{}'.*or say its code as in .codes."
    with pytest.raises(ValueError, match=problem.format("xx")):
        load_translator(folder, "xx").get_code("zh")
    with pytest.raises(ValueError, match=problem.format("gl")):
        load_translator(folder).get_code("gl")


def test_m2m100_reads_the_source_language_and_must_write_the_other(tmp_path, pieces, monkeypatch):
    translator = load_translator(save_m2m100(tmp_path / "m", pieces), "de")
    tokens, first = list_tokens(translator, "zh", monkeypatch)
    assert translator.family == "m2m100"
    assert tokens[0] == "__de__"
    assert first == "__zh__"
    with pytest.raises(ValueError, match="this m2m100 model has no code for 'te'"):
        translator.get_code("te")


def test_marian_with_many_target_languages_reads_the_language(tmp_path, pieces, monkeypatch):
    folder = save_marian(tmp_path / "m", pieces, ">>deu<<", ">>cmn_Hans<<")
    translator = load_translator(folder)
    tokens, first = list_tokens(translator, "zh", monkeypatch)
    assert translator.family == "marian"
    assert tokens[0] == ">>cmn_Hans<<"
    assert first is None
    problem = r"this marian model has no code for 'fr' \(tried fra, fr\)"
    with pytest.raises(ValueError, match=problem):
        translator.get_code("fr")


def test_marian_with_one_target_language_reads_no_language(tmp_path, pieces, monkeypatch):
    translator = load_translator(save_marian(tmp_path / "m", pieces))
    tokens, _ = list_tokens(translator, "fr", monkeypatch)
    assert not tokens[0].startswith(">>")


def test_the_first_word_of_a_real_translation_is_the_language(tmp_path, pieces):
    translator = load_translator(save_m2m100(tmp_path / "m", pieces))
    inputs = translator.tokenizer(["who won the cup"], return_tensors="pt")
    output = translator._generate(inputs, "de")[0]
    assert translator.tokenizer.convert_ids_to_tokens(int(output[1])) == "__de__"
    [translation] = translator.translate(["who won the cup"], "de")
    expected = translator.tokenizer.decode(output[2:], skip_special_tokens=True).strip()
    assert translation.text == expected  # without that word; random weights may repeat it


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    folder = save_nllb(tmp_path / "m")
    config = M2M100Config(vocab_size=90, tokenizer_class="NllbTokenizer", **SMALL)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    problem = r"its tokenizer has \d+ tokens, the model 90: they do not belong together"
    with pytest.raises(ValueError, match=problem):
        load_translator(folder)


def test_the_identity_of_a_model_is_that_of_its_files(tmp_path, pieces):
    folder = save_m2m100(tmp_path / "m", pieces)
    first = load_translator(folder).identity
    save_m2m100_weights(folder)
    second = load_translator(folder).identity
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"model.safetensors"}
    assert "vocab.json" in first


def test_families_are_detected_and_others_refused():
    assert detect_family("t5", build_tokenizer()) == "madlad"
    problem = "a bart without the language codes of NLLB-200"
    with pytest.raises(ValueError, match=problem):
        detect_family("bart", build_tokenizer())
