"""Instants, time zones and local hours."""
