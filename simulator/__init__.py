"""Simulated contacts and logs: ground truth for what no real log can show."""
