"""How a trial is started: in a process of this machine, or, for tests, inside the caller."""
