"""One file per benchmark: load(...) -> Benchmark."""
