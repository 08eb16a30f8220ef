"""Multilingual dense retrieval: batches planned by language, and retrieval measured by language."""
