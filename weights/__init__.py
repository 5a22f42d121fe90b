"""Whisper weights: read any common file format into one canonical naming.

Reads and resolves; it does not run a model and imports neither torch nor MAX.
"""
