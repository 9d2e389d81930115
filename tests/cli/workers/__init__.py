"""Work in a process of its own, seen and stopped by commands in others."""
