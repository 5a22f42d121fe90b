"""First use of a GPU of a kind that never ran our kernels: checked once against the CPU's float32.

What comes in: an implementation that has just been loaded, and its weights. What goes out: nothing,
or an error that names what differs. It transcribes nothing for the user, checks no word times, and
leaves the GPUs on which all tests were run alone.
"""
