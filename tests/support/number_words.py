"""A real translation model, trained here: from different digits to the words of a language."""

import random
from pathlib import Path

import torch
from num2words import num2words
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

LANGUAGES = ("de", "en", "es")
WORDS = {}  # the words of the digits, by language
for _language in LANGUAGES:
    WORDS[_language] = [num2words(digit, lang=_language) for digit in range(10)]
BATCH = 64  # texts


def say_in_words(digits: str, language: str) -> str:
    """Returns the words of digits that are separated by blanks."""
    return " ".join(WORDS[language][int(digit)] for digit in digits.split())


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Builds a tokenizer with a token for each digit, each of its words, and each language."""
    tokens = ["<unk>", "<s>", "</s>"]
    tokens += [f"<2{language}>" for language in LANGUAGES]
    tokens += [str(digit) for digit in range(10)]
    words = set()
    for language in LANGUAGES:
        words.update(WORDS[language])
    tokens += sorted(words)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    rules = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rules.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=rules, unk_token="<unk>", pad_token="<s>", eos_token="</s>"
    )


def train_translation_model(folder: Path, steps: int) -> Path:
    """Trains a model in the form of MADLAD-400: T5, with the target language before the text."""
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = build_tokenizer()
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=0,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for _ in range(steps):
        model(**draw_batch(tokenizer, rng)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def draw_batch(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> dict[str, torch.Tensor]:
    """Draws digits, their languages, and their words as labels."""
    sources = []
    targets = []
    digits = [" ".join(rng.sample("0123456789", rng.randint(1, 6))) for _ in range(BATCH)]
    languages = rng.choices(LANGUAGES, k=BATCH)
    for text, language in zip(digits, languages, strict=True):
        sources.append(f"<2{language}> {text}")
        targets.append(say_in_words(text, language))
    inputs = tokenizer(sources, padding=True, return_tensors="pt")
    outputs = tokenizer(targets, padding=True, return_tensors="pt")
    labels = outputs["input_ids"].masked_fill(outputs["attention_mask"] == 0, -100)
    return {
        "input_ids": inputs["input_ids"],
        "attention_mask": inputs["attention_mask"],
        "labels": labels,
    }
