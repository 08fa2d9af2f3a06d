"""Runtimes, and what they share."""
