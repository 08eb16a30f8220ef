"""Translation models of the hub: how each family is told which language to translate into."""

# B texts of a batch

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from hybrid_ir.files.fetching import hash_file_samples

NLLB = {
    "ar": "arb_Arab",
    "bn": "ben_Beng",
    "de": "deu_Latn",
    "el": "ell_Grek",
    "en": "eng_Latn",
    "es": "spa_Latn",
    "fa": "pes_Arab",
    "fi": "fin_Latn",
    "fr": "fra_Latn",
    "hi": "hin_Deva",
    "id": "ind_Latn",
    "it": "ita_Latn",
    "ja": "jpn_Jpan",
    "ko": "kor_Hang",
    "nl": "nld_Latn",
    "pt": "por_Latn",
    "ru": "rus_Cyrl",
    "sw": "swh_Latn",
    "te": "tel_Telu",
    "th": "tha_Thai",
    "tr": "tur_Latn",
    "vi": "vie_Latn",
    "yo": "yor_Latn",
    "zh": "zho_Hans",
}
OPUS = {
    "ar": ("ara", "arb"),
    "bn": ("ben",),
    "de": ("deu",),
    "el": ("ell",),
    "en": ("eng",),
    "es": ("spa",),
    "fa": ("pes", "fas"),
    "fi": ("fin",),
    "fr": ("fra",),
    "hi": ("hin",),
    "id": ("ind",),
    "it": ("ita",),
    "ja": ("jpn",),
    "ko": ("kor", "kor_Hang"),
    "nl": ("nld",),
    "pt": ("por",),
    "ru": ("rus",),
    "sw": ("swh", "swa"),
    "te": ("tel",),
    "th": ("tha",),
    "tr": ("tur",),
    "vi": ("vie",),
    "yo": ("yor",),
    "zh": ("cmn_Hans", "zho_Hans", "cmn", "zho"),
}

FORMS = {
    "nllb": "{}",
    "m2m100": "__{}__",
    "madlad": "<2{}>",
    "marian": ">>{}<<",
}  # how a family writes a language
FORCED = (
    "nllb",
    "m2m100",
)  # as the first token of a translation; others have it in front of the source


def family_of(model_type: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """`marian`, `nllb`, `m2m100` or `madlad`; ValueError for another."""
    if model_type == "marian":
        return "marian"
    if model_type in ("m2m_100", "nllb-moe") and knows(tokenizer, "eng_Latn"):
        return "nllb"
    if model_type == "m2m_100" and hasattr(tokenizer, "get_lang_id"):
        return "m2m100"
    if model_type == "t5" and knows(tokenizer, "<2en>"):
        return "madlad"
    raise ValueError(
        f"model: a {model_type} without the language codes of NLLB-200, M2M100, MADLAD-400 or OPUS-MT cannot be "
        "told which language to translate into: use a model of one of these families"
    )


def knows(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    """Whether a token has an id of its own; not by the vocabulary, in which M2M100 has no languages."""
    return tokenizer.convert_tokens_to_ids(token) not in (None, tokenizer.unk_token_id)


def target_code(
    family: str, language: str, tokenizer: PreTrainedTokenizerBase, given: Mapping[str, str]
) -> str:
    """How the model calls a language; ValueError where it does not know it. A bilingual Marian model calls it nothing: ''."""
    if family == "marian" and not tokenizer.supported_language_codes and language not in given:
        return ""
    known = {
        "nllb": (NLLB.get(language, language),),
        "marian": (*OPUS.get(language, ()), language),
    }.get(family, (language,))
    for code in (given[language],) if language in given else known:
        if knows(tokenizer, FORMS[family].format(code)):
            return code
    raise ValueError(
        f"model: this {family} model has no code for '{language}' (tried {', '.join(known)}): leave the language "
        f"out, or say its code as in +codes.{language}=CODE"
    )


@dataclass
class Translator:
    """A translation model, from one language; `translate` gives each text and whether the model came to its end."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: str
    source: str
    codes: Mapping[str, str]
    beams: int = 1
    max_length: int = 512  # tokens of a source, and of a translation
    tokens_per_batch: int = 4096  # padded

    @classmethod
    def load(
        cls, place: str, revision: str | None, source: str, device: str, precision: str, **choices
    ) -> "Translator":
        """From a folder or the hub, safetensors alone; ValueError where it is not there, or cannot be used."""
        if place.startswith(("/", ".", "~")) and not Path(place).expanduser().is_dir():
            raise ValueError(f"model={place!r}: there is no such folder")
        place = str(Path(place).expanduser()) if place.startswith("~") else place
        try:
            config = AutoConfig.from_pretrained(place, revision=revision)
            # T5's own class takes id 2 for unknown, which is the end of a text in MADLAD
            loader = PreTrainedTokenizerFast if config.model_type == "t5" else AutoTokenizer
            tokenizer = loader.from_pretrained(place, revision=revision)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                place, revision=revision, use_safetensors=True, dtype=getattr(torch, precision)
            )
        except (OSError, ValueError, ImportError) as error:
            reason = f"{str(error).splitlines()[0]:.300}"
            raise ValueError(
                f"model={place!r} could not be loaded as a translation model: {reason}"
            ) from error
        if len(tokenizer) > (size := model.get_input_embeddings().num_embeddings):
            raise ValueError(
                f"model={place!r}: its tokenizer has {len(tokenizer):,} tokens, the model {size:,}: they do not "
                "belong together"
            )
        model.generation_config.forced_eos_token_id = (
            None  # of Marian: it would make a cut translation look whole
        )
        return cls(
            model.eval().to(device),
            tokenizer,
            family_of(config.model_type, tokenizer),
            source,
            **choices,
        )

    @property
    def identity(self) -> dict[str, str]:
        """The commit of a model of the hub, or digests of the files of a folder: what decides its translations."""
        place = Path(self.model.name_or_path)
        if not place.is_dir():
            return {"commit": str(getattr(self.model.config, "_commit_hash", None))}
        files = (
            path
            for path in sorted(place.iterdir())
            if path.suffix in (".safetensors", ".json", ".model", ".spm")
        )
        return {path.name: hash_file_samples(path) for path in files}

    def code(self, language: str) -> str:
        """That of a language to translate into; ValueError where the model does not know it, or the source."""
        if self.family in FORCED:
            target_code(self.family, self.source, self.tokenizer, self.codes)
        return target_code(self.family, language, self.tokenizer, self.codes)

    def translate(self, texts: Sequence[str], language: str) -> list[tuple[str, bool]]:
        """Each translation, and whether it is whole: False where the source or the translation is longer than `max_length`."""
        code, found = self.code(language), [("", False)] * len(texts)
        prefix = f"{FORMS[self.family].format(code)} " if code and self.family not in FORCED else ""
        if self.family in FORCED:
            self.tokenizer.src_lang = target_code(
                self.family, self.source, self.tokenizer, self.codes
            )
        ids = self.tokenizer([prefix + text for text in texts])["input_ids"]
        for rows in self._batches([len(row) for row in ids]):
            inputs = self.tokenizer.pad(
                {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
            ).to(self.model.device)
            for row, output in zip(rows, self._generate(inputs, code), strict=True):
                made = output[
                    1 + (self.family in FORCED) :
                ]  # without the start, and the language where that is forced
                whole = self.model.generation_config.eos_token_id in made.tolist()
                found[row] = self.tokenizer.decode(made, skip_special_tokens=True).strip(), whole
        return found

    def _generate(self, inputs, code: str) -> torch.Tensor:
        forced = {}
        if self.family in FORCED:
            forced = {
                "forced_bos_token_id": self.tokenizer.convert_tokens_to_ids(
                    FORMS[self.family].format(code)
                )
            }
        with torch.inference_mode():
            return self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                num_beams=self.beams,
                do_sample=False,
                max_new_tokens=self.max_length,
                **forced,
            ).cpu()

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows alike in length, long ones first; those that are too long in none."""
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
            if lengths[row] > self.max_length:
                continue
            if batch and (len(batch) + 1) * lengths[batch[0]] > self.tokens_per_batch:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch
