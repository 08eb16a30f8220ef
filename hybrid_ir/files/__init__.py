"""File formats that corpora and benchmarks share."""
