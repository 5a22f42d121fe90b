"""Whisper transcription from the command line and from Python."""
