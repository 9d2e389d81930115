"""Talking to a model: the protocol that speakers fulfil, and the prompt loop over it."""
