"""What is not as it was: detectors over what a process sees go by, and who is told (docs/monitoring.md)."""
