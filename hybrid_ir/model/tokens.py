"""How texts become tokens."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from hybrid_ir.model.token_store import LAYOUT, TokenStore, load_or_tokenise
from hybrid_ir.types import Text


@dataclass(frozen=True)
class RoleTokenizer:
    """How texts of one role, query or passage, become tokens."""

    tokenizer: PreTrainedTokenizerBase
    prefix: str
    max_length: int  # tokens, special ones included

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever any text could be tokenised differently."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = json.loads(backend.to_str()) if backend else self.tokenizer.get_vocab()
        # left behind by whatever was tokenised last, and set anew by every call
        rules |= {"truncation": None, "padding": None} if backend else {}
        choices = [
            type(self.tokenizer).__name__,
            self.prefix,
            self.max_length,
            self.tokenizer.truncation_side,
        ]
        return hashlib.sha256(json.dumps([rules, choices], sort_keys=True).encode()).hexdigest()

    def store(self, texts: Sequence[Text | None], cache: Path) -> TokenStore:
        """Tokens of the texts (none for None), from the cache if the same texts were tokenised alike before.

        Texts that know a fingerprint of themselves are not read for that.
        """
        digest = hashlib.sha256(f"{LAYOUT} {self.fingerprint}".encode())
        known = getattr(texts, "fingerprint", None)
        for text in texts if known is None else [known]:
            digest.update(json.dumps(text).encode())
        return load_or_tokenise(texts, self.read, Path(cache) / "tokens" / digest.hexdigest()[:32])

    def read(self, texts: Sequence[Text | None]) -> tuple[list[list[int]], int]:
        """Token ids of each text, none for None, and how many texts are longer than `max_length`."""
        ids: list[list[int]] = [[] for _ in texts]
        there = [i for i, text in enumerate(texts) if text is not None]
        if not there:
            return ids, 0
        given = [
            (self.prefix + text[0], text[1]) if isinstance(text, tuple) else self.prefix + text
            for text in (texts[i] for i in there)
        ]
        found, cut = self._encoded(given)
        for i, row in zip(there, found, strict=True):
            ids[i] = row
        return ids, cut

    def _encoded(self, texts: list[Text]) -> tuple[list[list[int]], int]:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            columns = (
                [list(column) for column in zip(*texts, strict=True)]
                if isinstance(texts[0], tuple)
                else [texts]
            )
            return self.tokenizer(*columns, truncation=True, max_length=self.max_length)[
                "input_ids"
            ], 0
        backend.no_padding()  # straight to it: half of the time of the tokenizer's own call goes into what nobody reads
        backend.enable_truncation(
            self.max_length, strategy="longest_first", direction=self.tokenizer.truncation_side
        )
        found = backend.encode_batch_fast(texts)
        return [encoding.ids for encoding in found], sum(
            bool(encoding.overflowing) for encoding in found
        )


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


def compute_tokenizer_canary(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sixteen hex digits of the hash of all token ids of TEXTS."""
    ids = tokenizer(list(CANARY_TEXTS), verbose=False)[
        "input_ids"
    ]  # verbose would warn of a text longer than the model takes
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def cut_into_windows(
    text: Text,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    overlap: float,
    prefix: str = "",
) -> list[Text]:
    """Pieces of the text, cut where tokens end, that fit into `max_length` tokens behind the prefix; the text itself if it fits.

    Args:
        overlap: share of a window that the next one repeats, at least 0 and below 1.

    Raises:
        ValueError: a text pair, or no room for text behind the prefix.
    """
    if not isinstance(text, str):
        raise ValueError(
            "max_passage cuts plain passages, not pairs of sentence and context: use another candidates="
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"window_overlap={overlap} must be 0 or more and below 1")
    return [
        text[first:last]
        for first, last in find_window_spans(text, tokenizer, max_length, overlap, prefix)
    ]


def find_window_spans(
    text: str, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: float, prefix: str = ""
) -> list[tuple[int, int]]:
    """First character and end of each window."""

    def tokens(piece: str) -> int:
        return len(tokenizer(prefix + piece, verbose=False)["input_ids"])

    if tokens(text) <= max_length:
        return [(0, len(text))]
    room = max_length - tokens("")
    if room < 1:
        raise ValueError(
            f"max length {max_length} leaves no room for text behind the prefix {prefix!r}: raise it"
        )
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
        "offset_mapping"
    ]
    found, start, end = [], 0, 0
    while end < len(spans):
        end = min(start + room, len(spans))
        first, last = spans[start][0], spans[end - 1][1]
        # cut out of its text, a piece may split into more tokens at its edges
        while tokens(text[first:last]) > max_length and end > start + 1:
            end -= 1
            last = spans[end - 1][1]
        found.append((first, last))
        start = max(start + 1, end - int(overlap * room))
    return found
