"""The conversation in a real pseudo-terminal, test by test; `twinctl chat` for scripts is beside."""
