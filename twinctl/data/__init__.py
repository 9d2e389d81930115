"""Rows in, tokens out: sources, templates, tokenisation, split and the tokens on disk. No torch, no transformers."""
