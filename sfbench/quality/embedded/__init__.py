"""The extractor that ships with the package: a small network trained on CIFAR-10, and its weights."""
