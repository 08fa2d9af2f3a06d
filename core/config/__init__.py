"""From YAML and words to a typed pipeline."""
