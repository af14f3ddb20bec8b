"""The checks of an audit: each is fed blocks of a log or a whole one, and says what it found."""
