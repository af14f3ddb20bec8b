"""From scores of actions to a distribution over the eligible ones."""
