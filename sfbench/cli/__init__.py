"""The command line: reads arguments, chooses the real parts, calls them, prints."""
