"""Cores, folders and locks, memory, environment, paths, processes."""
