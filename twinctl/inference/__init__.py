"""The protocol of a model that answers, and what every model that fulfils it shares: stop sequences, context window."""
