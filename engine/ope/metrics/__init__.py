"""The metrics of a campaign, off-policy: ratios of weighted sums, each with its interval or why there is none."""
