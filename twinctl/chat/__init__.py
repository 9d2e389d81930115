"""Conversations with a model: which one is loaded, the prompt loop, transcripts, and the quick check of a twin."""
