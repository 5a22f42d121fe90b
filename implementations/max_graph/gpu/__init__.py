"""Whisper as MAX graphs for a GPU, with kernels in Mojo; names are those of the CPU graphs."""
