"""The records of decisions and outcomes: their schema, and readers of outcome files and logged rounds."""
