"""Suites that ship with the package, as TOML; `sfbench.run.suites` reads them."""
