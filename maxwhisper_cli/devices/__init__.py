"""Several devices of one machine: a process for each, and one queue of recordings.

What comes in are recordings, as `Model.transcribe_several` takes them; what goes out are its
results, with the device of each. README.md has the protocol. No model runs in this process, and no
recording is read in it.
"""
