"""What the reporter `mlflow` sends, and how it reaches the tracking store."""
