"""The checks of an audit: each is fed batches of a log or a whole one, and says what it found."""
