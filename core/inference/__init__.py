"""An opened model over windows of items."""
