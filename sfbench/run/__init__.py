"""Carries out a plan: decides what is missing, starts a process a trial, collects records."""
