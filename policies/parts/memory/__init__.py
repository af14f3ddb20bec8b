"""What a contact's own past sends say of the next one: counts in the context, shrunk rates in the regression."""
