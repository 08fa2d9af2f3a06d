"""The short-time Fourier transform of demucs in NumPy, and its inverse."""
