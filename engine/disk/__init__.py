"""How files and folders get onto the disk: whole, in one step, and without anything left lying about."""
