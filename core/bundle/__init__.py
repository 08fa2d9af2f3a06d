"""The bundle: the files that go to the device."""
