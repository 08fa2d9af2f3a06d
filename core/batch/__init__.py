"""Many items through one compiled model: one at a time, to be continued, on many processes."""
