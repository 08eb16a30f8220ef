"""A real translation model, trained here: different digits into the words of a language."""

import random
from pathlib import Path

import torch
from num2words import num2words
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

LANGUAGES = ("de", "en", "es")
WORDS = {
    language: [num2words(digit, lang=language) for digit in range(10)] for language in LANGUAGES
}


def in_words(number: str, language: str) -> str:
    return " ".join(WORDS[language][int(digit)] for digit in number.split())


def tokenizer() -> PreTrainedTokenizerFast:
    words = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<2{language}>" for language in LANGUAGES),
        *map(str, range(10)),
        *sorted({word for own in WORDS.values() for word in own}),
    ]
    rules = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    rules.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rules.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=rules, unk_token="<unk>", pad_token="<s>", eos_token="</s>"
    )


def trained(folder: Path, steps: int = 350) -> Path:
    """A model with the form of MADLAD-400: T5, the target language in front of the text."""
    torch.manual_seed(0)
    rng, words = random.Random(0), tokenizer()
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(words),
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
        numbers = [" ".join(rng.sample("0123456789", rng.randint(1, 6))) for _ in range(64)]
        languages = rng.choices(LANGUAGES, k=64)
        inputs = words(
            [f"<2{code}> {number}" for code, number in zip(languages, numbers, strict=True)],
            padding=True,
            return_tensors="pt",
        )
        targets = words(
            [in_words(number, code) for code, number in zip(languages, numbers, strict=True)],
            padding=True,
            return_tensors="pt",
        )
        labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100)
        model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels
        ).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
