"""The demo: an invented author, how a text is recognised as his, and what the demo promises of base and twin."""
