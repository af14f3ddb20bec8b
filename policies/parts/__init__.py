"""What a message is worth, part by part: the chance of a stage, the worth of the stage, costs and losses."""
