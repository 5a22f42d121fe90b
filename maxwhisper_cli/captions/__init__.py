"""Transcripts as captions: text broken into cues, by openai-whisper's options or by a style."""

NO_STYLE = "none"
"""Name of no style: openai-whisper's own cues."""
