"""Compares measured models: result folders to systems, tests, tables, figures and one report."""
