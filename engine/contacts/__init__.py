"""Contact files: what a sender knows of each contact, read and checked batch by batch."""
