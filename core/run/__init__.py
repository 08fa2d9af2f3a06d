"""One job: execution, choice, benchmark, run folder, lock file."""
