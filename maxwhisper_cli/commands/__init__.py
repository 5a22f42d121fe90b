"""Commands, one file each: parse, call, render."""
