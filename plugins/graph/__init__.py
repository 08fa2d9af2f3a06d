"""Graph rewriters."""
