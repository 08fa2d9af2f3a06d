"""The command line: arguments, modes and messages."""
