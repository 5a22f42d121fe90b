"""Live transcription: audio comes in as it is recorded, text goes out while somebody speaks."""
