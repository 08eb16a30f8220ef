"""Translation models, and how each family of them names the language to translate into."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from hybrid_ir.files.checksums import hash_file_samples
from hybrid_ir.files.hub_connection import go_offline_if_unreachable
from hybrid_ir.model.backbone import require_no_revision_of_a_folder
from hybrid_ir.system.progress import count_texts

NLLB_CODES = {
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
OPUS_CODES = {
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

# The token with which a family writes the code of a language.
LANGUAGE_TOKENS = {"nllb": "{}", "m2m100": "__{}__", "madlad": "<2{}>", "marian": ">>{}<<"}
# These families need that token as the first one of a translation; the others have it in front of
# the source.
FIRST_TOKEN_FAMILIES = ("nllb", "m2m100")


class Translation(NamedTuple):
    """A translated text.

    Args:
        text: the translation.
        is_complete: whether the model came to its end; False where the source or the translation
            is longer than the model may read or write.
    """

    text: str
    is_complete: bool


def detect_family(model_type: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns the family of a model: `marian`, `nllb`, `m2m100` or `madlad`.

    Raises ValueError for a model of another family.
    """
    if model_type == "marian":
        return "marian"
    if model_type in ("m2m_100", "nllb-moe") and _has_token(tokenizer, "eng_Latn"):
        return "nllb"
    if model_type == "m2m_100" and hasattr(tokenizer, "get_lang_id"):
        return "m2m100"
    if model_type == "t5" and _has_token(tokenizer, "<2en>"):
        return "madlad"
    raise ValueError(
        f"model: a {model_type} without the language codes of NLLB-200, M2M100, MADLAD-400 or "
        "OPUS-MT cannot be told which language to translate into: use a model of one of these "
        "families"
    )


def choose_language_code(
    family: str, language: str, tokenizer: PreTrainedTokenizerBase, codes: Mapping[str, str]
) -> str:
    """Returns how a model calls a language.

    Args:
        family: the family of the model.
        language: the language as corpora call it.
        tokenizer: the tokenizer of the model.
        codes: codes of the model that the user has chosen, by language.

    Returns:
        The code, or '' for a bilingual Marian model, which translates into one language only.

    Raises:
        ValueError: if the model does not know the language.
    """
    if family == "marian" and not tokenizer.supported_language_codes and language not in codes:
        return ""
    candidates = (language,)
    if family == "nllb":
        candidates = (NLLB_CODES.get(language, language),)
    if family == "marian":
        candidates = (*OPUS_CODES.get(language, ()), language)
    tried = (codes[language],) if language in codes else candidates
    for code in tried:
        if _has_token(tokenizer, LANGUAGE_TOKENS[family].format(code)):
            return code
    raise ValueError(
        f"model: this {family} model has no code for '{language}' (tried "
        f"{', '.join(tried)}): leave the language out, or say its code as in "
        f"+codes.{language}=CODE"
    )


@dataclass
class Translator:
    """A translation model that translates from one language.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        family: its family, as `detect_family` returns it.
        source: the language to translate from.
        codes: codes of the model by language, where its family names it in another way.
        beams: beams of the search; 1 is greedy.
        max_length: tokens of a source, and of a translation, at most.
        tokens_per_batch: tokens of a batch of sources, with padding.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: str
    source: str
    codes: Mapping[str, str]
    beams: int = 1
    max_length: int = 512
    tokens_per_batch: int = 4096

    @classmethod
    def load(
        cls,
        place: str,
        revision: str | None,
        source: str,
        device: str,
        precision: str,
        codes: Mapping[str, str],
        beams: int = 1,
        max_length: int = 512,
        tokens_per_batch: int = 4096,
    ) -> "Translator":
        """Loads a model from a folder or the hub, from safetensors alone.

        Args:
            place: the folder, or the name on the hub.
            revision: the commit on the hub; None for the newest.
            source: the language to translate from.
            device: where the model computes.
            precision: the dtype of its weights, as `float32`.
            codes, beams, max_length, tokens_per_batch: see `Translator`.

        Raises:
            ValueError: if the model is not there or cannot be used.
        """
        if place.startswith(("/", ".", "~")) and not Path(place).expanduser().is_dir():
            raise ValueError(f"model={place!r}: there is no such folder")
        require_no_revision_of_a_folder("model", place, revision)
        if place.startswith("~"):
            place = str(Path(place).expanduser())
        if not Path(place).is_dir():
            go_offline_if_unreachable()
        try:
            config = AutoConfig.from_pretrained(place, revision=revision)
            # The tokenizer class of T5 takes id 2 for unknown, which ends a text in MADLAD.
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
        embeddings = model.get_input_embeddings().num_embeddings
        if len(tokenizer) > embeddings:
            raise ValueError(
                f"model={place!r}: its tokenizer has {len(tokenizer):,} tokens, the model "
                f"{embeddings:,}: they do not belong together"
            )
        # Marian sets it, and would so make a cut translation look complete.
        model.generation_config.forced_eos_token_id = None
        return cls(
            model.eval().to(device),
            tokenizer,
            detect_family(config.model_type, tokenizer),
            source,
            codes,
            beams,
            max_length,
            tokens_per_batch,
        )

    @property
    def identity(self) -> dict[str, str]:
        """What decides the translations of a model.

        The commit of a model of the hub, or digests of the files of a folder by their names.
        """
        place = Path(self.model.name_or_path)
        if not place.is_dir():
            return {"commit": str(getattr(self.model.config, "_commit_hash", None))}
        digests = {}
        for path in sorted(place.iterdir()):
            if path.suffix in (".safetensors", ".json", ".model", ".spm"):
                digests[path.name] = hash_file_samples(path)
        return digests

    def get_code(self, language: str) -> str:
        """Returns how the model calls a language to translate into.

        Raises ValueError if the model does not know it, or does not know the source language.
        """
        if self.family in FIRST_TOKEN_FAMILIES:
            self._choose_code(self.source)
        return self._choose_code(language)

    def translate(self, texts: Sequence[str], language: str) -> list[Translation]:
        """Translates texts into a language."""
        code = self.get_code(language)
        prefix = ""
        if self.family in FIRST_TOKEN_FAMILIES:
            self.tokenizer.src_lang = self._choose_code(self.source)
        elif code:
            prefix = f"{LANGUAGE_TOKENS[self.family].format(code)} "
        ids = self.tokenizer([prefix + text for text in texts])["input_ids"]
        translations = [Translation("", False)] * len(texts)
        for rows in self._plan_batches([len(text_ids) for text_ids in ids]):
            inputs = self.tokenizer.pad(
                {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
            )
            outputs = self._generate(inputs.to(self.model.device), code)
            count_texts(len(rows))
            for row, output in zip(rows, outputs, strict=True):
                translations[row] = self._decode(output)
        return translations

    def _choose_code(self, language: str) -> str:
        return choose_language_code(self.family, language, self.tokenizer, self.codes)

    def _generate(self, inputs: BatchEncoding, code: str) -> torch.Tensor:
        """Returns the token ids of the translations of a batch, padded to the longest."""
        options = {}
        if self.family in FIRST_TOKEN_FAMILIES:
            token = LANGUAGE_TOKENS[self.family].format(code)
            options["forced_bos_token_id"] = self.tokenizer.convert_tokens_to_ids(token)
        with torch.inference_mode():
            return self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                num_beams=self.beams,
                do_sample=False,
                max_new_tokens=self.max_length,
                **options,
            ).cpu()

    def _decode(self, output: torch.Tensor) -> Translation:
        """Returns the translation of the token ids that the model has written."""
        start = 2 if self.family in FIRST_TOKEN_FAMILIES else 1  # start token, language
        ids = output[start:]
        is_complete = self.model.generation_config.eos_token_id in ids.tolist()
        return Translation(
            self.tokenizer.decode(ids, skip_special_tokens=True).strip(), is_complete
        )

    def _plan_batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yields the rows of batches of similar length, long ones first; too long ones in none."""
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


def _has_token(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    """Returns whether a token has an id of its own.

    The vocabulary does not tell: in M2M100 it has no languages.
    """
    return tokenizer.convert_tokens_to_ids(token) not in (None, tokenizer.unk_token_id)
