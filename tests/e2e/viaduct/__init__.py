"""What the end-to-end tests drive: Viaduct's own processes and the real clients around them, one file a
kind."""
