"""What rules that look back share: sends and events of the past, and the instants that they close."""
