"""Reporters, and what they share."""
