"""Taking a result away: its files in a folder of the user's own, and the Modelfile that Ollama reads beside them."""
