"""Whisper's text decoder in PyTorch, for `hybrid`; openai-whisper itself is never imported."""
