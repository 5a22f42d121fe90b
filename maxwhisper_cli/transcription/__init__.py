"""Transcription of audio, on any implementation.

It knows the implementation's contract and nothing of which one it is, nor of terminals or files
written.
"""
