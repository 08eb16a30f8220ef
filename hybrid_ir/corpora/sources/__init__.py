"""One file per training source: load(...) -> ParallelCorpus."""
