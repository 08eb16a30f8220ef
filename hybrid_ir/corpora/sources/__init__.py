"""The training data sets, a file for each.

Each file has `load`, which returns a ParallelCorpus. A file of a public data set also has `SOURCE`
and `list_files`, which lists the files to fetch.
"""
