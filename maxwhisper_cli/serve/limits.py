"""Limits of the server, one number each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that keep one client from taking the server from all others."""

    upload_bytes: int = 500 * 10**6
    """Largest upload."""
    spool_bytes: int = 4 * 10**9
    """Most bytes of all uploads that are on disk at a time."""
    audio_seconds: float = 4 * 3600
    """Longest recording."""
    request_seconds: float = 3600
    """Longest time that a request may take, from its first byte to the last of the answer."""
    idle_seconds: float = 30
    """Longest pause of a client that sends or reads."""
    queue: int = 256
    """Most requests that are read, wait or are decoded at a time."""
    connections: int = 1024
    """Most sockets that are open at a time."""
    stop_seconds: float = 30
    """Longest time that requests have to end after SIGTERM."""
    opened_bytes: int = 512 * 2**20
    """Most bytes of mel frames of all recordings that are read; one more is always allowed."""

    field_bytes: int = 64 * 1024
    """Largest text field of a form."""
    fields: int = 128
    """Most fields of a form."""
