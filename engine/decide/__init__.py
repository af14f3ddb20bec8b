"""One batch of contacts through guardrails, policy and draw, to rows of the decision log."""
