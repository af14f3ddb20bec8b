"""What a launch rests on: the recommendation, metrics, who is treated differently, what is sent and what rules cost."""
