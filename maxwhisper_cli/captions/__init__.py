"""Transcripts as captions: text broken into cues, by openai-whisper's options or by a style."""
