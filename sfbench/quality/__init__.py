"""How good images are: extractors, statistics of features, and metrics as functions of them."""
