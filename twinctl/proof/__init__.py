"""What must hold of a file before it is handed out: that it is the model which was trained.

Start at `twinctl.proof.prove`. `reference` is what the trained adapter said, kept on disk; `apart` runs torch or
llama.cpp in a process of its own and asks a file the same; `likeness` and `limits` compare the two.
"""
