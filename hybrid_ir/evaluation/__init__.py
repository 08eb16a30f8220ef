"""Ranks by counting, and everything that follows from them."""
