"""Reading of recordings: files, pipes and arrays become mono samples at 16 kHz."""
