"""The bundle: what goes to the device."""
