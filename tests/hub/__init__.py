"""The Hub room, against a stand-in on loopback and the real client."""
