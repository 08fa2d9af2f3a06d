"""Many items through one compiled model: resumable, in one process or in many."""
