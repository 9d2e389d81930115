"""What a training will take, known before it: memory, time, disk. Arithmetic only; nothing heavy is imported."""
