"""torch, unsloth, trl, peft and transformers: models, training, generation, merging. Unsloth is imported first, in
`start`.
"""
