"""Whisper as MAX graphs for a GPU, with kernels in Mojo; the same names as the graphs for the CPU."""
