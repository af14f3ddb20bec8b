"""What runs while messages are sent: deciding, dispatching, explaining, monitoring, state and erasure."""
