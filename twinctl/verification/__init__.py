"""Whether a file that is to be handed out is the model that was trained.

Start at `verification.verify`. `reference` is the output of the trained model, kept on disk; `isolated_process` runs
torch (`reference_model`) or llama.cpp (`gguf_model`) in a process of its own, and asks a file what the trained model
was asked; `divergence` and `limits` compare the two.
"""
