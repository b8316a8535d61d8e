"""How fast and how large a generator is: blocks, latency, cold costs, memory, complexity."""
