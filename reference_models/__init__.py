"""Reference implementations of published generators in plain torch: one paper a file, no harness."""
