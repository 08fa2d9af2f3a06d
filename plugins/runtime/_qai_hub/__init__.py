"""Sessions on devices that are elsewhere: one job takes many windows."""
