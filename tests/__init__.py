"""The tests: `tests/support` has what several of them need, and nothing else is imported from here."""
