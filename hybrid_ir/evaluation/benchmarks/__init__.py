"""The benchmarks, one file each with a function load(...) -> Benchmark, and their builder."""
