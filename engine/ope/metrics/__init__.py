"""The stack of campaign metrics, off-policy: ratios of weighted sums, each with its interval or with why there is none."""
