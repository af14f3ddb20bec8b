"""Removing persons for good: from SQL stores with their overwritten pages, and from files, each rewritten whole."""
