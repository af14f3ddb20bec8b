"""Is a log fit to learn and judge from? One check per file, all over one pass in flat memory."""
