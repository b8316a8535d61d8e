"""The steps of a trial: build, check, time, measure memory and quality; one module per family."""
