"""What is known of each contact, and the sends that are promised to it, in one SQL store."""
