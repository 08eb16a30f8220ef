"""How long a query takes: tokenise, encode, search; several checkpoints interleaved in one process (protocol, section 5)."""
