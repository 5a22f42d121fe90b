"""Openai-whisper's own PyTorch model behind the contract of `implementations.implementation`."""
