"""Policies made of other policies: narrowed, restricted, or explained where they hold back."""
