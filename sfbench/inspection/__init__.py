"""Pictures of what a generator makes, and of how: samples, truncation, mixing, attention."""
