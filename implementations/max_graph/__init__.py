"""Whisper as MAX graphs, with kernels in Mojo, behind the contract in implementations/."""
