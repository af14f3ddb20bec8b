"""Policies to compare with: constants, segments, calendars and linear bandits."""
