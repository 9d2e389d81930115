"""Writes a Hugging Face model folder as one GGUF file, in Python alone: nothing is compiled, nothing is fetched.

Start at `twinctl.gguf.writer.write_gguf`. This module imports nothing, so that naming the room costs nothing.
Inside it `gguf` is the library of that name, always by absolute import.
"""
