"""Inputs of a run: files, folders, lists, manifests and addresses, and what of them is done.

In come the arguments of a command. Out go inputs in order, each with the name of its outputs, and
a local file for each address when its turn comes. They know no model and no terminal.
"""
