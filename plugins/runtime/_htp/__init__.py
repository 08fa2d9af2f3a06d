"""Shared by the runtimes for the HTP: a child process that may die."""
