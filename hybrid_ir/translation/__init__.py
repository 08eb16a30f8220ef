"""Machine translation of a corpus: what makes parallel data where there is none."""
