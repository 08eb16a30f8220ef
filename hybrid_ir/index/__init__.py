"""An index: the vectors and texts of passages on disk, and the ways to search them."""
