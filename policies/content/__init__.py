"""Policies over content that is assembled from blocks."""
