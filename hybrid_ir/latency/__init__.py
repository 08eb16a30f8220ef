"""How long a query takes to tokenise, encode and search: settings, session, statistics, report."""
