"""Voice activity: where in a recording somebody speaks.

It knows neither models of speech recognition nor terminals.
"""
