"""Engines: who starts the workers of a plan. Each starts `sfbench work`; the store is the truth."""
