"""`mode=fit`: the longest window that compiles."""
