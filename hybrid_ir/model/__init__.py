"""The bi-encoder: backbone, tokens, and adapters that make any encoder measurable."""
