"""Audio files in and out, for every dataset of sound: reading, fitting to a model, writing."""
