"""What plugins of several kinds share of one vendor: a package each; it imports no kind."""
