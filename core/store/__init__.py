"""Results under the key of what they depend on, here or at a URL."""
