"""Commands that judge a log, and a policy before it serves."""
