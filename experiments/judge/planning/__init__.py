"""Plan a log before it is made: `decisions` to see a difference, and the `learning` of the best arms."""
