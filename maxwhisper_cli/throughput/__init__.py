"""Many windows at a time: files read ahead, rows that take the next window as they end."""
