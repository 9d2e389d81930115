"""What a phase is asked to do: frozen pydantic models and presets as data. No input or output happens here.

Two kinds of model live side by side. A *recipe* changes the result and is hashed whole; *options* (where things are,
how the machine is used) do not and are never hashed. A field's place decides, not a list kept by hand.
"""
