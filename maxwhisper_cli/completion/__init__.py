"""Shell completion: words for the shell, from a table of commands that is kept.

Comes in: the command line so far. Goes out: candidates, one a line. It imports nothing that is slow
to load unless the table has to be made anew, after an update of the program.
"""
