"""A season of decisions: scenarios x policies x seeds under the same luck, and what the policies earn by its end."""
