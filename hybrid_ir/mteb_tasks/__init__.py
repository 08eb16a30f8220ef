"""mteb's own evaluation of any encoder, and what is kept of its scores."""
