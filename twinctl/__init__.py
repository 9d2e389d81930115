"""twinctl: fine-tune an open-weight language model on one person's writing."""

__version__ = "0.1.0"
