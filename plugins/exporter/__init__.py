"""Exporters, and what they share."""
