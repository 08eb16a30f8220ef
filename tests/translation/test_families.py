"""Each family is told its languages as it wants to be: real tokenizer classes, models too small to translate."""

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

from hybrid_ir.translation.families import Translator

TEXTS = [
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
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "texts").write_text("\n".join(TEXTS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"),
        model_prefix=str(folder / "s"),
        vocab_size=34,
        character_coverage=1.0,
        minloglevel=2,
    )
    return folder / "s.model"


def vocabulary(pieces: Path, first: list[str], last: list[str]) -> str:
    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    words = [*first, *(model.id_to_piece(i) for i in range(3, model.vocab_size())), *last]
    return json.dumps({word: number for number, word in enumerate(words)})


def nllb(folder: Path, pieces: Path) -> None:
    tokenizer = NllbTokenizer(src_lang="eng_Latn")
    tokenizer.save_pretrained(folder)
    M2M100ForConditionalGeneration(
        M2M100Config(vocab_size=len(tokenizer) + 8, tokenizer_class="NllbTokenizer", **SMALL)
    ).save_pretrained(folder)


def m2m100(folder: Path, pieces: Path) -> None:
    folder.mkdir()
    (folder / "sentencepiece.bpe.model").write_bytes(pieces.read_bytes())
    (folder / "vocab.json").write_text(vocabulary(pieces, ["<s>", "<pad>", "</s>", "<unk>"], []))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "M2M100Tokenizer"})
    )
    M2M100ForConditionalGeneration(M2M100Config(vocab_size=300, **SMALL)).save_pretrained(folder)


def marian(
    folder: Path, pieces: Path, codes: tuple[str, ...] = (">>deu<<", ">>cmn_Hans<<")
) -> None:
    folder.mkdir()
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(pieces.read_bytes())
    words = vocabulary(pieces, ["</s>", "<unk>"], [*codes, "<pad>"])
    (folder / "vocab.json").write_text(words)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"source_lang": "eng", "target_lang": "mul"})
    )
    size = len(json.loads(words))
    MarianMTModel(
        MarianConfig(
            vocab_size=size,
            pad_token_id=size - 1,
            decoder_start_token_id=size - 1,
            eos_token_id=0,
            forced_eos_token_id=0,
            **SMALL,
        )
    ).save_pretrained(folder)


def loaded(folder: Path, source: str = "en", **codes: str) -> Translator:
    return Translator.load(str(folder), None, source, "cpu", "float32", codes=codes, max_length=60)


def given_and_forced(
    translator: Translator, language: str, monkeypatch
) -> tuple[list[str], str | None]:
    """The first tokens that the model reads, and the first that it must write."""
    seen = {}

    def generate(input_ids, attention_mask, forced_bos_token_id=None, **_):
        seen.update(ids=input_ids[0].tolist(), forced=forced_bos_token_id)
        return torch.zeros((len(input_ids), 2), dtype=torch.long)

    monkeypatch.setattr(translator.model, "generate", generate)
    translator.translate(["who won the cup"], language)
    tokens = translator.tokenizer.convert_ids_to_tokens(seen["ids"])
    return tokens, None if seen["forced"] is None else translator.tokenizer.convert_ids_to_tokens(
        seen["forced"]
    )


def test_nllb(tmp_path, pieces, monkeypatch):
    nllb(tmp_path / "m", pieces)
    translator = loaded(tmp_path / "m", "de")
    tokens, forced = given_and_forced(translator, "zh", monkeypatch)
    assert (
        translator.family == "nllb"
        and tokens[0] == "deu_Latn"
        and tokens[-1] == "</s>"
        and forced == "zho_Hans"
    )
    assert loaded(tmp_path / "m", zh="zho_Hant").code("zh") == "zho_Hant"
    assert loaded(tmp_path / "m").code("glg_Latn") == "glg_Latn"
    for wrong in (
        lambda: loaded(tmp_path / "m", "xx").code("zh"),
        lambda: loaded(tmp_path / "m").code("gl"),
    ):
        with pytest.raises(
            ValueError,
            match=r"this nllb model has no code for '(xx|gl)'.*or say its code as in \+codes\.",
        ):
            wrong()


def test_m2m100(tmp_path, pieces, monkeypatch):
    m2m100(tmp_path / "m", pieces)
    translator = loaded(tmp_path / "m", "de")
    tokens, forced = given_and_forced(translator, "zh", monkeypatch)
    assert translator.family == "m2m100" and tokens[0] == "__de__" and forced == "__zh__"
    with pytest.raises(ValueError, match="this m2m100 model has no code for 'te'"):
        translator.code("te")


def test_marian_with_many_target_languages_and_with_one(tmp_path, pieces, monkeypatch):
    marian(tmp_path / "m", pieces)
    translator = loaded(tmp_path / "m")
    tokens, forced = given_and_forced(translator, "zh", monkeypatch)
    assert translator.family == "marian" and tokens[0] == ">>cmn_Hans<<" and forced is None
    with pytest.raises(
        ValueError, match=r"this marian model has no code for 'fr' \(tried fra, fr\)"
    ):
        translator.code("fr")
    marian(tmp_path / "one", pieces, ())
    tokens, _ = given_and_forced(loaded(tmp_path / "one"), "fr", monkeypatch)
    assert not tokens[0].startswith(">>")


def test_the_first_word_of_a_real_translation_is_the_language(tmp_path, pieces):
    m2m100(tmp_path / "m", pieces)
    translator = loaded(tmp_path / "m")
    inputs = translator.tokenizer(["who won the cup"], return_tensors="pt")
    output = translator._generate(inputs, "de")[0]
    assert translator.tokenizer.convert_ids_to_tokens(int(output[1])) == "__de__"
    [(text, _)] = translator.translate(["who won the cup"], "de")
    assert (
        text == translator.tokenizer.decode(output[2:], skip_special_tokens=True).strip()
        and "__de__" not in text
    )


def test_a_tokenizer_of_another_model_is_refused(tmp_path, pieces):
    nllb(tmp_path / "m", pieces)
    M2M100ForConditionalGeneration(
        M2M100Config(vocab_size=90, tokenizer_class="NllbTokenizer", **SMALL)
    ).save_pretrained(tmp_path / "m")
    with pytest.raises(
        ValueError, match=r"its tokenizer has \d+ tokens, the model 90: they do not belong together"
    ):
        loaded(tmp_path / "m")


def test_the_identity_of_a_model_is_that_of_its_files(tmp_path, pieces):
    m2m100(tmp_path / "m", pieces)
    first = loaded(tmp_path / "m").identity
    M2M100ForConditionalGeneration(M2M100Config(vocab_size=300, **SMALL)).save_pretrained(
        tmp_path / "m"
    )
    second = loaded(tmp_path / "m").identity
    assert {name for name in first if first[name] != second[name]} == {
        "model.safetensors"
    } and "vocab.json" in first
