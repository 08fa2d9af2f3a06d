"""Sessions on devices that are elsewhere: windows go in by the job."""
