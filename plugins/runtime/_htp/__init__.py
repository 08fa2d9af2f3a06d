"""What the runtimes for the HTP share: a child process that may die."""
