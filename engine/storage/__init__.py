"""How files, folders and databases are written so that they are whole, durable and never half replaced."""
