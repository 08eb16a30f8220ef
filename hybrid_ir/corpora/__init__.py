"""Corpora on disk: importing, checking, cleaning, mining, and the public data sets."""
