"""Whisper as MAX graphs, with kernels in Mojo, behind the contract of `implementations.base`."""
