"""Code that plugins of several kinds share for one vendor: a package each; it imports no kind."""
