"""Corpora on disk: importing, checking, rewriting, and the public data sets."""
