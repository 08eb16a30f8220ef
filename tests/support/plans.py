"""Plans of batches for tests: samplers to try, a corpus for them, and the texts of their tokens."""

from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.token_store import RaggedTokens
from hybrid_ir.types import PlannedBatch
from tests.support.corpora import build_parallel_corpus

# The monolingual share and the level of samplers.
SAMPLERS = [
    (1.0, "batch"),
    (0.0, "batch"),
    (0.5, "batch"),
    (1.0, "example"),
    (0.5, "example"),
    (0.0, "example"),
]
PARALLEL = build_parallel_corpus()  # 60 pairs in a, b, c and d


def plan_batches(sampler: PairBatchSampler, count: int) -> list[PlannedBatch]:
    """Returns the first batches of a plan."""
    return [sampler[step] for step in range(count)]


def decode(tokens: RaggedTokens, tokenizers) -> list[str]:
    """Returns the texts of tokens, without special tokens."""
    tokenizer = tokenizers["query"].tokenizer
    ids_of_texts = tokens.ids_T.split(tokens.lengths_B.tolist())
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in ids_of_texts]
