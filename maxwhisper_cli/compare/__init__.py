"""Comparison of implementations on the same recordings: time, memory, accuracy and reports."""
