"""What a run consists of: convert, compare, evaluate."""
