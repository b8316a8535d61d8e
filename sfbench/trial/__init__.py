"""The steps of a trial: build, check, time, measure memory, judge quality; a module a family."""
