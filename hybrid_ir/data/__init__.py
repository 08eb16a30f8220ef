"""Training data: corpora, the plan of batches, tokens."""
