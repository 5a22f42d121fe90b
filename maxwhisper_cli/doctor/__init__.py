"""Facts and checks for a bug report: this machine, this installation, and what works.

Comes in: the settings that hold. Goes out: a `Report`. It imports no framework, changes nothing,
and shows neither secrets nor the name of the home folder.
"""
