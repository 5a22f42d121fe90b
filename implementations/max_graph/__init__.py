"""Whisper as MAX graphs, with CPU kernels in Mojo, behind the contract of `implementations.base`."""
