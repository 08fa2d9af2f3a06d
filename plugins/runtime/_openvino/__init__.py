"""OpenVINO: what it has on this machine, and graphs converted, opened, and traced by it."""
