"""Carries out a plan: decides what is missing, starts one process per trial, collects records."""
