"""What the commands of `tactful guardrails` do."""
