"""Our batches, and our mask of false negatives, in the trainer of sentence-transformers.

    model = SentenceTransformer("intfloat/multilingual-e5-small")
    corpus = load_corpus("cldr_facts", languages=["en", "de", "zh"])
    prompts = {"query": "query: ", "passage": "passage: "}
    build_trainer(model, corpus, output_dir="outputs/st", max_steps=1000, prompts=prompts).train()

Rows come in the order of the plan, so that each batch of the trainer is a planned batch. The label
of a row is the number of its batch, from which the loss knows which passages are no negatives.
`build_loss=MultipleNegativesRankingLoss`, of sentence-transformers, trains without the mask.
"""

import torch.nn.functional as F
from datasets import Features, IterableDataset, Value
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch import nn

from hybrid_ir import InfoNCE, PairBatchSampler, PlannedTexts


class PlannedLoss(nn.Module):
    def __init__(self, model, batches):
        super().__init__()
        self.model, self.batches, self.loss = model, batches, InfoNCE(temperature=0.05)

    def forward(self, columns, steps):
        vectors = [F.normalize(self.model(texts)["sentence_embedding"]) for texts in columns]
        return self.loss(*vectors, self.batches[int(steps[0])].labels.to(steps.device))


def build_trainer(model, corpus, build_loss=PlannedLoss, batch_size=32, **options):
    batches = PlannedTexts(PairBatchSampler(corpus, batch_size, monolingual_share=0.5, seed=1))
    types = {"query": Value("string"), "passage": Value("string"), "label": Value("int64")}
    rows = IterableDataset.from_generator(batches.iterate_rows, features=Features(types))
    options = {"per_device_train_batch_size": batch_size, **options}
    arguments = SentenceTransformerTrainingArguments(**options)
    return SentenceTransformerTrainer(model, arguments, rows, loss=build_loss(model, batches))
