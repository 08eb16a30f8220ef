"""Machine translation of a corpus, which makes parallel data where there is none."""
