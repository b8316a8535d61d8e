"""From a model and a case to a checked generator in its execution mode."""
