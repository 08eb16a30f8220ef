"""Exact search is a brute force, codes have bounded errors, and every method keeps its filter."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.index.search_methods import (
    ExactSearch,
    RescoredSearch,
    build_faiss_file,
    import_faiss,
    load_faiss_search,
)
from hybrid_ir.index.vectors import (
    BinaryQuantiser,
    FloatVectors,
    Int8Quantiser,
    QuantisedVectors,
    fit_quantiser,
    load_quantiser,
    name_shard,
    write_tensors,
)

COMMON = settings(max_examples=25, deadline=None)


class HeldVectors:
    """Vectors in memory as a VectorSource with blocks of a chosen size."""

    def __init__(self, vectors_ND: torch.Tensor, size: int):
        self.vectors_ND = vectors_ND
        self.size = size
        self.width = vectors_ND.shape[1]

    def __len__(self) -> int:
        return len(self.vectors_ND)

    def iterate_blocks(self):
        for start in range(0, len(self), self.size):
            yield start, self.vectors_ND[start : start + self.size]

    def take(self, rows_R):
        return self.vectors_ND[torch.from_numpy(rows_R)]


def draw_vectors(rng: np.random.Generator, count: int, width: int) -> torch.Tensor:
    """Vectors that repeat, and some of which are one unit in the last place apart."""
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    vectors = vectors[rng.integers(0, max(1, count // 2), count)]
    is_moved = rng.random(vectors.shape) < 0.05
    return torch.from_numpy(np.where(is_moved, np.nextafter(vectors, np.float32(9)), vectors))


def search_by_brute_force(queries, vectors, k, is_allowed):
    """All scores in float64 by a sum over exact products, sorted by score and then by row."""
    products = queries.double().numpy()[:, None, :] * vectors.double().numpy()[None]
    scores = np.array([[float(sum(map(float, row))) for row in rows] for rows in products])
    rows_QK = np.full((len(queries), k), -1)
    for query, scores_N in enumerate(scores):
        allowed = [row for row in range(len(vectors)) if is_allowed[row]]
        best = sorted(allowed, key=lambda row: (-scores_N[row], row))[:k]
        rows_QK[query, : len(best)] = best
    return scores, rows_QK


@COMMON
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 40),
    width=st.integers(1, 9),
    size=st.integers(1, 17),
    k=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_exact_search_is_a_brute_force_in_float64(seed, count, width, size, k, share):
    rng = np.random.default_rng(seed)
    vectors = draw_vectors(rng, count, width)
    queries = torch.from_numpy(rng.normal(size=(3, width)).astype(np.float32))
    is_allowed = rng.random(count) < share
    scores_QK, rows_QK = ExactSearch(HeldVectors(vectors, size)).search(queries, k, is_allowed)
    scores, expected_QK = search_by_brute_force(queries, vectors, k, is_allowed)
    assert ((rows_QK >= 0) == (expected_QK >= 0)).all()
    for query in range(3):
        found = rows_QK[query][rows_QK[query] >= 0]
        expected = expected_QK[query][expected_QK[query] >= 0]
        # The order of what differs by less than the rounding of float64 is free.
        assert np.allclose(scores[query][found], scores[query][expected], rtol=0, atol=1e-13)
        assert np.allclose(scores_QK[query][: len(found)], scores[query][found], atol=1e-13)
        assert is_allowed[found].all()
        assert len(set(found)) == len(found)


@COMMON
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 30))
def test_equal_vectors_tie_and_stand_in_the_order_of_their_rows(seed, size):
    rng = np.random.default_rng(seed)
    distinct = torch.from_numpy(rng.normal(size=(4, 33)).astype(np.float32))
    places = rng.integers(0, 4, 30)
    vectors = distinct[torch.from_numpy(places)]
    scores_QK, rows_QK = ExactSearch(HeldVectors(vectors, size)).search(distinct[:1], 30)
    for first, second in zip(range(29), range(1, 30), strict=True):
        same_vector = places[rows_QK[0, first]] == places[rows_QK[0, second]]
        assert same_vector == (scores_QK[0, first] == scores_QK[0, second])
        assert not same_vector or rows_QK[0, first] < rows_QK[0, second]


@COMMON
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), width=st.integers(1, 20))
def test_a_value_in_8_bits_is_at_most_half_a_step_away(seed, count, width):
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.integers(-6, 4, width)
    vectors = torch.from_numpy((rng.normal(size=(count, width)) * spread).astype(np.float32))
    vectors[:, 0] = 0.25  # a dimension that says nothing
    quantiser = Int8Quantiser.fit(HeldVectors(vectors, 7))
    codes = quantiser.encode(vectors)
    assert codes.dtype == torch.uint8
    error = (quantiser.decode(codes) - vectors).abs()
    rounding = 4 * torch.finfo(torch.float32).eps * vectors.abs().amax(0)
    assert (error <= quantiser.step_D / 2 + rounding).all()
    assert (quantiser.decode(codes)[:, 0] == 0.25).all()


@COMMON
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), width=st.integers(1, 20))
def test_a_bit_stands_for_the_mean_of_its_side(seed, count, width):
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.normal(size=(count, width)).astype(np.float32))
    quantiser = BinaryQuantiser.fit(HeldVectors(vectors, 7))
    codes = quantiser.encode(vectors)
    assert codes.shape == (count, -(-width // 8))
    decoded = quantiser.decode(codes)
    assert torch.allclose(decoded.mean(0), vectors.mean(0), atol=1e-5)
    is_above = vectors > quantiser.middle_D
    assert ((decoded > quantiser.middle_D) == is_above).all() or count == 1
    for dimension in range(width):
        for side in (True, False):
            chosen = is_above[:, dimension] == side
            if chosen.any():
                mean = vectors[chosen, dimension].mean()
                assert torch.allclose(decoded[chosen, dimension], mean, atol=1e-5)


@pytest.fixture
def stored(tmp_path) -> tuple[torch.Tensor, FloatVectors]:
    """Unit vectors, and the same in shards on disk."""
    rng = np.random.default_rng(5)
    vectors = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(500, 24)))).float()
    paths = []
    for number in range(4):
        path = tmp_path / name_shard("vectors", number)
        write_tensors(path, {"vectors": vectors[128 * number : 128 * (number + 1)]})
        paths.append(path)
    return vectors, FloatVectors(paths)


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_enough_rescored_candidates_are_the_exact_search(stored, tmp_path, kind):
    vectors, source = stored
    quantiser = fit_quantiser(kind, source)
    write_tensors(tmp_path / "quantiser", quantiser.get_tensors())
    for number, (_, block) in enumerate(source.iterate_blocks()):
        write_tensors(tmp_path / f"codes{number}", {"codes": quantiser.encode(block)})
    loaded = load_quantiser(kind, tmp_path / "quantiser")
    codes = QuantisedVectors([tmp_path / f"codes{number}" for number in range(4)], loaded, 24)
    exact = ExactSearch(source).search(vectors[:20], 10)
    all_rescored = RescoredSearch(ExactSearch(codes), source, 50).search(vectors[:20], 10)
    assert (all_rescored[1] == exact[1]).all()
    assert (all_rescored[0] == exact[0]).all()
    few_rescored = RescoredSearch(ExactSearch(codes), source, 4).search(vectors[:20], 10)
    plain = ExactSearch(codes).search(vectors[:20], 10)
    assert (few_rescored[1] == exact[1]).mean() >= (plain[1] == exact[1]).mean()
    assert (few_rescored[1] == exact[1]).mean() > (0.5 if kind == "binary" else 0.99)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_faiss_finds_what_the_exact_search_finds(stored, tmp_path, kind):
    pytest.importorskip("faiss")
    vectors, source = stored
    for name in ("first", "second"):
        build_faiss_file(kind, source, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    search = RescoredSearch(load_faiss_search(tmp_path / "first", source, 500), source)
    is_allowed = np.arange(500) % 3 == 0
    for allowed in (None, is_allowed):
        exact = ExactSearch(source).search(vectors[:20], 10, allowed)
        found = search.search(vectors[:20], 10, allowed)
        assert (found[1] == exact[1]).mean() > 0.99
        assert np.allclose(found[0], exact[0], atol=1e-3)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_faiss_finds_all_there_is_of_a_rare_language(stored, tmp_path, kind):
    pytest.importorskip("faiss")
    vectors, source = stored
    build_faiss_file(kind, source, tmp_path / "index")
    search = RescoredSearch(load_faiss_search(tmp_path / "index", source, None), source)
    is_rare = np.isin(np.arange(500), [3, 250, 499])
    _, rows_QK = search.search(vectors[:5], 10, is_rare)
    for rows_K in rows_QK:
        assert sorted(rows_K[:3]) == [3, 250, 499]
        assert (rows_K[3:] == -1).all()
    _, nothing_QK = search.search(vectors[:5], 10, np.zeros(500, bool))
    assert (nothing_QK == -1).all()


def test_without_faiss_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"pip install 'hybrid-ir\[faiss\]'"):
        import_faiss()
