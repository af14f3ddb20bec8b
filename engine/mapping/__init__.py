"""Logs that others wrote, read by configuration."""
