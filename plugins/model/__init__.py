"""Models, and what they share."""
