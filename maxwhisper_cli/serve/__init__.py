"""HTTP server: OpenAI's audio interface over models that are loaded once."""
