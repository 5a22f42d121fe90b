"""Decoding the tokens of one window: rules, greedy and beam search, in numpy over logits.

It sees a `DecoderSession` and a `DecodeRequest`; it knows no text, no audio and no device.
"""
