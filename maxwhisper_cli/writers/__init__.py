"""Transcripts as files: one module per format, their registry, and where the files go.

They turn finished transcripts into text and put it in place; they know no model and no terminal.
"""
