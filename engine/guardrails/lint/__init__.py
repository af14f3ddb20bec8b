"""Is a pack fit to be sent with? What it says is tried on made-up contacts and held against the law."""
