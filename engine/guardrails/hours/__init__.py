"""Hours that are lawful or quiet: weekly windows of local time, wherever a contact may be."""
