"""Ollama's side of an exported model: a Modelfile that writes the prompts of the model's own chat template."""
