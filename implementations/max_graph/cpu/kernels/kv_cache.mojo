"""Keys and values of self-attention as a decoder step reads them: layout and filling.

Keys lie as [n_slots, n_head, n_panels, head_dim, PANEL], so that one query meets PANEL keys at a
time without a horizontal sum; values as [n_slots, n_head, n_ctx, n_columns], where n_columns is
head_dim rounded up to whole panels. Nothing here computes attention.
"""
from std.math import ceildiv
from .tile import PANEL, WIDTH, Floats


@fieldwise_init
struct KVCache(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Keys and values of n_ctx positions of each slot and head."""

    var keys: Floats
    var values: Floats
    var n_head: Int
    var head_dim: Int
    var n_ctx: Int

    @always_inline
    def n_columns(self) -> Int:
        """Returns the floats from one value to the next."""
        return ceildiv(self.head_dim, PANEL) * PANEL

    @always_inline
    def keys_of(self, slot: Int, head: Int) -> Floats:
        """Returns a head's keys, [n_panels, head_dim, PANEL]."""
        var n_padded = ceildiv(self.n_ctx, PANEL) * PANEL
        return self.keys.unsafe_offset((slot * self.n_head + head) * n_padded * self.head_dim)

    @always_inline
    def values_of(self, slot: Int, head: Int) -> Floats:
        """Returns a head's values, [n_ctx, n_columns]."""
        var n_values = self.n_ctx * self.n_columns()
        return self.values.unsafe_offset((slot * self.n_head + head) * n_values)

    @always_inline
    def store(self, slot: Int, head: Int, position: Int, new_key: Floats, new_value: Floats):
        """Stores a key and a value of one head, [head_dim] each."""
        var key = self.keys_of(slot, head).unsafe_offset(
            position // PANEL * PANEL * self.head_dim + position % PANEL
        )
        var value = self.values_of(slot, head).unsafe_offset(position * self.n_columns())
        for c in range(self.head_dim):
            key.unsafe_store(c * PANEL, new_key.unsafe_load(c))
            value.unsafe_store(c, new_value.unsafe_load(c))

    @no_inline
    def copy_panel(self, slot: Int, source: Int, panel: Int):
        """Copies one panel of positions, of all heads, from another slot."""
        var n_keys = PANEL * self.head_dim
        var first = panel * PANEL
        var n_values = (min(first + PANEL, self.n_ctx) - first) * self.n_columns()
        for head in range(self.n_head):
            var at = panel * n_keys
            copy(
                self.keys_of(slot, head).unsafe_offset(at),
                self.keys_of(source, head).unsafe_offset(at),
                n_keys,
            )
            at = first * self.n_columns()
            copy(
                self.values_of(slot, head).unsafe_offset(at),
                self.values_of(source, head).unsafe_offset(at),
                n_values,
            )


@always_inline
def copy(into: Floats, source: Floats, n: Int):
    """Copies n floats, a multiple of WIDTH."""
    for i in range(0, n, WIDTH):
        into.unsafe_store(i, source.unsafe_load[width=WIDTH](i))
