"""Training: drives any Learner over shards of batches, resumably, on one process or several."""
