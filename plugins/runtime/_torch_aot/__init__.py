"""Torch programs compiled ahead of time: made, checked, and loaded."""
