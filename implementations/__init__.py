"""The interchangeable ways to run Whisper, behind one contract (`implementations.implementation`).

They turn mel windows into tokens. They know nothing of files, text or terminals.
"""
