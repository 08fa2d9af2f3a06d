"""Datasets, and what they share."""
