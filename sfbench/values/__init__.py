"""Values shared by packages: what can be measured. No tensors, no files."""
