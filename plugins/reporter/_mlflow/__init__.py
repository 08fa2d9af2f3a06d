"""What the reporter `mlflow` sends, and how it reaches the place that takes it."""
