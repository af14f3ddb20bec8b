"""Commands that run while messages are sent."""
