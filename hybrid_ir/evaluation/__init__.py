"""Measures retrieval by language: encodes a benchmark once, counts ranks, computes measures."""
