"""A small web server with a page: one question, the ranking of one or two models, by language."""
