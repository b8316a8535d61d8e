"""Pictures of a generator's outputs and inner workings: samples, truncation, mixing, attention."""
