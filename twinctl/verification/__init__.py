"""What must hold of a file before it is handed out: that it is the model which was trained.

Start at `verification.verify`. `reference` is what the trained adapter said, kept on disk; `isolated_process` runs
torch or llama.cpp in a process of its own and asks a file the same; `divergence` and `limits` compare the two.
"""
