"""Running several implementations on the same recordings, and what is told of it."""
