"""Our batches, and our mask of false negatives, in a plain PyTorch loop.

    tokenizer = AutoTokenizer.from_pretrained("intfloat/multilingual-e5-small")
    model = AutoModel.from_pretrained("intfloat/multilingual-e5-small").train()
    corpus = load_corpus("cldr_facts", languages=["en", "de", "zh"])
    for loss in train(model, tokenizer, corpus, steps=1000):
        print(loss)

Batch k is the same in every run, so that a training that has stopped goes on at its next batch.
"""

import torch

from hybrid_ir import InfoNCE, PairBatchSampler, PlannedTexts


def encode(model, tokenizer, texts):
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    states = model(**tokens.to(model.device)).last_hidden_state
    weights = tokens["attention_mask"][:, :, None]
    return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1))


def train(model, tokenizer, corpus, steps, batch_size=32, lr=2e-5):
    batches = PlannedTexts(PairBatchSampler(corpus, batch_size, monolingual_share=0.5, seed=1))
    loss_function = InfoNCE(temperature=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for step in range(steps):
        batch = batches[step]
        queries = encode(model, tokenizer, [f"query: {text}" for text in batch.queries])
        passages = encode(model, tokenizer, [f"passage: {text}" for text in batch.passages])
        loss = loss_function(queries, passages, batch.labels.to(model.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()
