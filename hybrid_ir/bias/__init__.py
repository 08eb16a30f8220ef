"""Is a retriever biased by language: what is lost when languages share one collection."""
