"""Transforms between waveforms and core inputs."""
