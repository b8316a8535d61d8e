"""sfbench: a benchmark and evaluation harness for image generators."""

__version__ = "0.1.0"
