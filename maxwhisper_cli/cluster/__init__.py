"""Many machines: a manifest cut into units, transcribed by shards or by actors of a Ray cluster.

Both ways write the same files, so that a run begun in one may end in the other.
"""
