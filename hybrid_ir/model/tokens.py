"""Tokenises the texts of a role, cuts long ones into windows, and hashes tokenizers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring_ascii
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from hybrid_ir.model.token_store import LAYOUT, TokenStore, load_or_tokenise
from hybrid_ir.types import Text

HEX_DIGITS_OF_CACHE_KEY = 32
TEXTS_HASHED_AT_ONCE = 10_000
HEX_DIGITS_OF_CANARY = 16


@dataclass(frozen=True)
class RoleTokenizer:
    """Tokenises the texts of one role, query or passage.

    Attributes:
        tokenizer: of the encoder.
        prefix: put before every text.
        max_length: in tokens, special ones included.
    """

    tokenizer: PreTrainedTokenizerBase
    prefix: str
    max_length: int

    @cached_property
    def fingerprint(self) -> str:
        """A hash that changes whenever any text could be tokenised differently."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            rules = self.tokenizer.get_vocab()
        else:
            rules = json.loads(backend.to_str())
            # Left behind by whatever was tokenised last, and set anew by every call.
            rules["truncation"] = None
            rules["padding"] = None
        choices = [
            type(self.tokenizer).__name__,
            self.prefix,
            self.max_length,
            self.tokenizer.truncation_side,
        ]
        return hashlib.sha256(json.dumps([rules, choices], sort_keys=True).encode()).hexdigest()

    def store(self, texts: Sequence[Text | None], cache: Path) -> TokenStore:
        """Returns the tokens of the texts, from the cache if they were tokenised before.

        Args:
            texts: None has no tokens. Texts with a `fingerprint` attribute, a hash of all of them,
                are not read to find out whether they are in the cache.
            cache: folder of all token stores.
        """
        digest = hashlib.sha256(f"{LAYOUT} {self.fingerprint}".encode())
        texts_fingerprint = getattr(texts, "fingerprint", None)
        hashed = texts if texts_fingerprint is None else [texts_fingerprint]
        for start in range(0, len(hashed), TEXTS_HASHED_AT_ONCE):
            part = hashed[start : start + TEXTS_HASHED_AT_ONCE]
            digest.update("".join(map(_write_json, part)).encode())
        key = digest.hexdigest()[:HEX_DIGITS_OF_CACHE_KEY]
        return load_or_tokenise(texts, self.read, Path(cache) / "tokens" / key)

    def read(self, texts: Sequence[Text | None]) -> tuple[list[list[int]], int]:
        """Tokenises texts behind the prefix.

        Returns:
            The token ids of each text, none for None, and how many texts were longer than
            `max_length` and cut.
        """
        ids: list[list[int]] = [[] for _ in texts]
        rows = [row for row, text in enumerate(texts) if text is not None]
        if not rows:
            return ids, 0
        prefixed = [self._add_prefix(texts[row]) for row in rows]
        ids_of_rows, too_long = self._tokenise(prefixed)
        for row, ids_of_row in zip(rows, ids_of_rows, strict=True):
            ids[row] = ids_of_row
        return ids, too_long

    def _add_prefix(self, text: Text) -> Text:
        if isinstance(text, tuple):
            return self.prefix + text[0], text[1]
        return self.prefix + text

    def _tokenise(self, texts: list[Text]) -> tuple[list[list[int]], int]:
        """Returns the token ids of each text, and how many texts were cut.

        A fast tokenizer is called without the Python around it, which would take half of the time
        for outputs that nobody reads. A slow one does not say how many texts it cut.
        """
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            arguments = [texts]
            if isinstance(texts[0], tuple):
                arguments = [[first for first, _ in texts], [second for _, second in texts]]
            encoded = self.tokenizer(*arguments, truncation=True, max_length=self.max_length)
            return encoded["input_ids"], 0
        backend.no_padding()
        backend.enable_truncation(
            self.max_length, strategy="longest_first", direction=self.tokenizer.truncation_side
        )
        encodings = backend.encode_batch_fast(texts)
        too_long = sum(bool(encoding.overflowing) for encoding in encodings)
        return [encoding.ids for encoding in encodings], too_long


def _write_json(text: Text | None) -> str:
    """Returns a text as json.dumps writes it; for a plain one without what it does around it."""
    return encode_basestring_ascii(text) if type(text) is str else json.dumps(text)


# Texts in many scripts, with what tokenizers treat differently.
CANARY_TEXTS = (
    "What is the capital of France?",
    "  two  spaces,\ttab\nline ",
    "ﬁne ﬂuﬀ ½ ² ™ № Å",
    "naïve café, Żółć, İstanbul ıI ǅ",
    "ẞ ß SS",
    "don't — “quotes” … «so»",
    "3.14159 1,000,000 1e-9 ٣٤ ３４ ४५",
    "👩‍👩‍👧 🇬🇷 ☕️",
    "e\u0301 vs é",
    "soft\u00adhyphen zero\u200bwidth no\u00a0break",
    "ما هي عاصمة فرنسا؟",
    "السَّلَامُ عَلَيْكُمْ",
    "Was ist die Hauptstadt Österreichs?",
    "Ποια είναι η πρωτεύουσα;",
    "ΟΔΟΣ οδός",
    "¿Cuál es la capital de España?",
    "भारत की राजधानी क्या है?",
    "क्ष त्र ज्ञ",
    "Какая столица России?",
    "Ёлка й",
    "เมืองหลวงของประเทศไทยคืออะไร",
    "น้ำ",
    "Türkiye'nin başkenti neresidir?",
    "Thủ đô của Việt Nam là gì?",
    "tiếng Việt",
    "中国的首都是哪里？",
    "台灣臺北",
    "日本の首都はどこですか？",
    "ｶﾀｶﾅ カタカナ",
    "대한민국의 수도는 어디입니까?",
    "한국",
    "מהי בירת ישראל?",
    "پایتخت ایران کجاست؟",
    "پاکستان کا دارالحکومت",
    "বাংলাদেশের রাজধানী কী?",
    "தமிழ்நாட்டின் தலைநகரம்",
    "తెలంగాణ రాజధాని ఏది?",
    "ಕರ್ನಾಟಕದ ರಾಜಧಾನಿ",
    "കേരളത്തിന്റെ തലസ്ഥാനം",
    "ગુજરાતની રાજધાની",
    "ਪੰਜਾਬ ਦੀ ਰਾਜਧਾਨੀ",
    "ශ්‍රී ලංකාව",
    "საქართველოს დედაქალაქი",
    "Հայաստանի մայրաքաղաքը",
    "የኢትዮጵያ ዋና ከተማ",
    "ປະເທດລາວ",
    "កម្ពុជា",
    "မြန်မာနိုင်ငံ",
    "བོད་ཡིག",
    "ᏣᎳᎩ",
    "Mji mkuu wa Kenya ni upi?",
    "Hvað heitir höfuðborg Íslands?",
    "query: prefix",
    "Passage: prefix",
)


def compute_tokenizer_canary(tokenizer: PreTrainedTokenizerBase | Tokenizer) -> str:
    """Returns sixteen hex digits of the hash of all token ids of CANARY_TEXTS.

    Tokenizers with the same canary are treated as the same.
    """
    if isinstance(tokenizer, Tokenizer):
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(CANARY_TEXTS))]
    else:
        # Not verbose, as that would warn of a text longer than the model takes.
        ids = tokenizer(list(CANARY_TEXTS), verbose=False)["input_ids"]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:HEX_DIGITS_OF_CANARY]


def cut_into_windows(
    text: Text,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    overlap: float,
    prefix: str = "",
) -> list[Text]:
    """Cuts a text into pieces of at most `max_length` tokens; one that is short enough stays.

    Args:
        text: a passage.
        tokenizer: pieces begin and end where its tokens do.
        max_length: of a piece with its prefix, in tokens, special ones included.
        overlap: share of a window that the next one repeats, at least 0 and below 1.
        prefix: put before every piece when it is encoded.

    Raises:
        ValueError: a text pair, a share out of its range, or no room for text behind the prefix.
    """
    if not isinstance(text, str):
        raise ValueError(
            "max_passage cuts plain passages, not pairs of sentence and context: use another "
            "candidates="
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"window_overlap={overlap} must be 0 or more and below 1")
    spans = find_window_spans(text, tokenizer, max_length, overlap, prefix)
    return [text[first:end] for first, end in spans]


def find_window_spans(
    text: str, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: float, prefix: str = ""
) -> list[tuple[int, int]]:
    """Returns the first character and the end of each window; see `cut_into_windows`."""

    def count_tokens(piece: str) -> int:
        return len(tokenizer(prefix + piece, verbose=False)["input_ids"])

    if count_tokens(text) <= max_length:
        return [(0, len(text))]
    room = max_length - count_tokens("")
    if room < 1:
        raise ValueError(
            f"max length {max_length} leaves no room for text behind the prefix {prefix!r}: raise "
            "it"
        )
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    token_spans = tokens["offset_mapping"]
    windows = []
    start = 0
    end = 0
    while end < len(token_spans):
        end = min(start + room, len(token_spans))
        first_character = token_spans[start][0]
        end_character = token_spans[end - 1][1]
        # Cut out of its text, a piece may split into more tokens at its edges.
        while end > start + 1 and count_tokens(text[first_character:end_character]) > max_length:
            end -= 1
            end_character = token_spans[end - 1][1]
        windows.append((first_character, end_character))
        start = max(start + 1, end - int(overlap * room))
    return windows
