"""Text that is safe to show, and the one way to the terminal."""
