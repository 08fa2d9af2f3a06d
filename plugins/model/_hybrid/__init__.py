"""What the plugins of the HTDemucs family share."""
