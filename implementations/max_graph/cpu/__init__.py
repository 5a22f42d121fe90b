"""Whisper on a CPU: packed weights, graphs, kernels with AVX2, AVX-512 or AMX, and decoding."""
