"""The real-time door: the app the workers run."""
