"""What rules read, kept in the record of a decision, so that it is explained and tried anew under another pack."""
