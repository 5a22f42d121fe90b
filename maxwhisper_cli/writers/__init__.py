"""Transcripts as files: one module per format, their registry, and the paths of the files.

They turn finished transcripts into text and put it in place; they know no model and no terminal.
"""

DEFAULT_NAME = "{stem}"
"""Name of outputs, without extension."""
