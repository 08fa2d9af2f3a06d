"""What the quantizer `nncf` consists of: a child process, its windows, and what it made."""
