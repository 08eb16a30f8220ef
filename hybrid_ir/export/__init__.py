"""Export: an encoder as files that other libraries load, and the proof that they are the same."""
