"""Values that rooms share: what can be measured. No tensors, no files."""
