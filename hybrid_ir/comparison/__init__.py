"""Measured models beside each other: result folders in; significance, tables, pictures and one HTML page out."""
