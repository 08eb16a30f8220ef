"""Files of corpora and benchmarks: fetching them, reading their formats, and writing safely."""
