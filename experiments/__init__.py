"""The commands, the studies and the reports stand here; this is the only layer that knows all others.

This package is internal: a program imports `tactful`, and what stands here may change (docs/development.md).
Its commands are public (docs/commands.md).
"""
