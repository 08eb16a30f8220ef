"""The examples train on our batches with the vectors and losses of our own trainer."""

import ast
import json
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoModel, AutoTokenizer

from hybrid_ir import InfoNCE, PairBatchSampler, PlannedTexts, RetrievalData, Retriever
from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.labels import mark_false_negatives
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from tests.support.small_run import BATCH_SIZE, BatchWatcher, build_numbers_corpus, build_trainer

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST_LINES = 25
STEPS = 5
RATE = 1e-3
PROMPTS = {"query": "query: ", "passage": "passage: "}


def load_example(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    """Queries have two positives each, so that batches have false negatives."""
    return build_numbers_corpus(several_positives=True)


@pytest.fixture(scope="module")
def folder(corpus, recipe, tmp_path_factory) -> Path:
    """A tiny transformer without dropout."""
    place = tmp_path_factory.mktemp("examples")
    folder = place / "model"
    shutil.copytree(recipe.build(corpus.texts(), place / "cache"), folder)
    config = json.loads((folder / "config.json").read_text())
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def train_ours(folder: Path, corpus: ParallelCorpus, loss: InfoNCE, **trainer) -> list[float]:
    """Returns the losses of our trainer, with one learning rate and decay for all weights."""

    def build_optimizer(groups):
        parameters = []
        for group in groups:
            parameters += group["params"]
        return torch.optim.AdamW(parameters, lr=RATE)

    encoder = BiEncoder(
        str(folder),
        query_prefix=PROMPTS["query"],
        passage_prefix=PROMPTS["passage"],
        passage_max_length=64,
    )
    sampler = PairBatchSampler(corpus, BATCH_SIZE, monolingual_share=0.5, seed=1)
    data = RetrievalData(sampler, encoder.tokenizers, cache=folder.parent / "cache")
    watcher = BatchWatcher()
    arguments = {"gradient_clip_val": None, "limit_val_batches": 0, "max_steps": STEPS, **trainer}
    trainer = build_trainer([watcher], default_root_dir=folder.parent, **arguments)
    trainer.fit(Retriever(encoder, loss, optimizer=build_optimizer), data)
    return watcher.losses


@pytest.fixture(scope="module")
def our_losses(folder, corpus) -> list[float]:
    return train_ours(folder, corpus, InfoNCE(temperature=0.05))


def build_sentence_transformer(folder: Path) -> SentenceTransformer:
    transformer = Transformer(str(folder))
    return SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension())]
    )


def train_with_sentence_transformers(folder, corpus, place, **choices) -> list[float]:
    """Returns the loss of each batch, which the trainer's log would round."""
    trainer = load_example("sentence_transformers_trainer")["build_trainer"](
        build_sentence_transformer(folder),
        corpus,
        batch_size=BATCH_SIZE,
        output_dir=str(place),
        max_steps=STEPS,
        prompts=PROMPTS,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        adam_epsilon=1e-8,
        max_grad_norm=0,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **choices,
    )
    losses = []
    trainer.loss.register_forward_hook(lambda *call: losses.append(float(call[-1].detach())))
    trainer.train()
    return losses


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path):
    text = path.read_text(encoding="utf-8")
    docstring = ast.parse(text).body[0]
    code = "\n".join(text.splitlines()[docstring.end_lineno :]).strip()
    if path.stem in ("plain_pytorch", "sentence_transformers_trainer"):
        assert len(code.splitlines()) <= MOST_LINES
    assert max(len(line) for line in text.splitlines()) <= 100


def test_planned_texts_are_what_our_trainer_tokenises(folder, corpus):
    sampler = PairBatchSampler(corpus, BATCH_SIZE, monolingual_share=0.5, seed=1)
    encoder = BiEncoder(str(folder), passage_max_length=64)
    tokenised = PlannedBatches(sampler, encoder.tokenizers, folder.parent / "cache", 2)
    batches = PlannedTexts(sampler, hard_negatives=2)
    for step in (0, 3):
        ours = tokenised[step]
        sides = {
            "query": (batches[step].queries, ours.queries),
            "passage": (batches[step].passages, ours.passages),
        }
        for role, (texts, tokens) in sides.items():
            ids_of_texts, _ = encoder.tokenizers[role].read(texts)
            assert [len(ids) for ids in ids_of_texts] == tokens.lengths_B.tolist()
            assert [one for ids in ids_of_texts for one in ids] == tokens.ids_T.tolist()
        assert vars(batches[step].labels).keys() == vars(ours.labels).keys()
        assert torch.equal(batches[step].labels.content_N, ours.labels.content_N)
        assert torch.equal(batches[step].labels.known_2E, ours.labels.known_2E)


def test_rows_come_in_the_order_of_the_plan(corpus):
    batches = PlannedTexts(PairBatchSampler(corpus, 4, seed=2), hard_negatives=1)
    rows = batches.iterate_rows(first=2)
    for step in (2, 3):
        taken = [next(rows) for _ in range(4)]
        assert [row["query"] for row in taken] == batches[step].queries
        assert [row["passage"] for row in taken] == batches[step].passages[::2]
        assert [row["negative_1"] for row in taken] == batches[step].passages[1::2]
        assert {row["label"] for row in taken} == {step}


def test_a_plain_loop_has_the_losses_of_our_trainer(folder, corpus, our_losses):
    model = AutoModel.from_pretrained(folder).train()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    train = load_example("plain_pytorch")["train"]
    losses = list(train(model, tokenizer, corpus, STEPS, BATCH_SIZE, RATE))
    assert losses == pytest.approx(our_losses, abs=1e-5)
    assert len(set(losses)) == STEPS


def test_sentence_transformers_has_the_losses_of_our_trainer(folder, corpus, our_losses, tmp_path):
    losses = train_with_sentence_transformers(folder, corpus, tmp_path)
    assert losses == pytest.approx(our_losses, abs=1e-5)


def test_the_mask_changes_the_losses(folder, corpus, our_losses):
    sampler = PairBatchSampler(corpus, BATCH_SIZE, monolingual_share=0.5, seed=1)
    labels = PlannedTexts(sampler)[0].labels
    assert mark_false_negatives(labels, BATCH_SIZE, "translations").any()
    without = train_ours(folder, corpus, InfoNCE(temperature=0.05, mask="none"))
    assert abs(without[0] - our_losses[0]) > 1e-3


def test_the_loss_of_sentence_transformers_is_ours_without_a_mask(folder, corpus, tmp_path):
    losses = train_with_sentence_transformers(
        folder,
        corpus,
        tmp_path,
        build_loss=lambda model, batches: MultipleNegativesRankingLoss(model, scale=20.0),
    )
    assert losses == pytest.approx(
        train_ours(folder, corpus, InfoNCE(temperature=0.05, mask="none")), abs=1e-5
    )


def test_the_vectors_of_the_examples_are_ours(folder):
    texts = ["which number 9", "the Zahl 16"]
    ours = BiEncoder(str(folder), query_prefix="query: ", passage_max_length=64).eval()
    expected = BiEncoderAdapter(ours, "tiny").encode_queries(texts)
    encode = load_example("plain_pytorch")["encode"]
    model = AutoModel.from_pretrained(folder).eval()
    prompted = [f"query: {text}" for text in texts]
    with torch.no_grad():
        vectors = encode(model, AutoTokenizer.from_pretrained(folder), prompted)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
    by_library = build_sentence_transformer(folder).encode(
        prompted, convert_to_tensor=True, normalize_embeddings=True
    )
    torch.testing.assert_close(by_library.cpu(), expected, atol=1e-5, rtol=0)
