"""Records -> pandas -> text. Never torch, never a measurement."""
