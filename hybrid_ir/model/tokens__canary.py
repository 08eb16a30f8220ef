"""A tokenizer canary: one short hash that changes when a tokenizer reads any of twenty scripts differently."""

import hashlib
import json

from transformers import PreTrainedTokenizerBase

CANARY_TEXTS = (
    "What is the capital of France?", "  two  spaces,\ttab\nline ", "ﬁne ﬂuﬀ ½ ² ™ № Å", "naïve café, Żółć, İstanbul ıI ǅ",
    "ẞ ß SS",
    "don't — “quotes” … «so»", "3.14159 1,000,000 1e-9 ٣٤ ３４ ४५", "👩‍👩‍👧 🇬🇷 ☕️", "e\u0301 vs é",
    "soft\u00adhyphen zero\u200bwidth no\u00a0break",
    "ما هي عاصمة فرنسا؟", "السَّلَامُ عَلَيْكُمْ", "Was ist die Hauptstadt Österreichs?", "Ποια είναι η πρωτεύουσα;", "ΟΔΟΣ οδός",
    "¿Cuál es la capital de España?", "भारत की राजधानी क्या है?", "क्ष त्र ज्ञ", "Какая столица России?", "Ёлка й",
    "เมืองหลวงของประเทศไทยคืออะไร", "น้ำ", "Türkiye'nin başkenti neresidir?", "Thủ đô của Việt Nam là gì?", "tiếng Việt",
    "中国的首都是哪里？", "台灣臺北", "日本の首都はどこですか？", "ｶﾀｶﾅ カタカナ", "대한민국의 수도는 어디입니까?", "한국",
    "מהי בירת ישראל?", "پایتخت ایران کجاست؟", "پاکستان کا دارالحکومت", "বাংলাদেশের রাজধানী কী?", "தமிழ்நாட்டின் தலைநகரம்",
    "తెలంగాణ రాజధాని ఏది?", "ಕರ್ನಾಟಕದ ರಾಜಧಾನಿ", "കേരളത്തിന്റെ തലസ്ഥാനം", "ગુજરાતની રાજધાની", "ਪੰਜਾਬ ਦੀ ਰਾਜਧਾਨੀ", "ශ්‍රී ලංකාව",
    "საქართველოს დედაქალაქი", "Հայաստանի մայրաքաղաքը", "የኢትዮጵያ ዋና ከተማ", "ປະເທດລາວ", "កម្ពុជា", "မြန်မာနိုင်ငံ", "བོད་ཡིག", "ᏣᎳᎩ",
    "Mji mkuu wa Kenya ni upi?", "Hvað heitir höfuðborg Íslands?", "query: prefix", "Passage: prefix",
)


def compute_tokenizer_canary(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sixteen hex digits of the hash of all token ids of TEXTS."""
    ids = tokenizer(list(CANARY_TEXTS), verbose=False)["input_ids"]  # verbose would warn of a text longer than the model takes
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
