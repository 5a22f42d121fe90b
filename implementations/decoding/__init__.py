"""Decoding the tokens of one window: rules, greedy and beam search, in numpy over logits.

It works on a `DecoderSession` and a `DecodeRequest`, independent of text, audio and device.
"""
