"""Keys and values as attention reads them: their layout and filling.

Keys lie as [n_batch, n_head, n_panels, n_channels, PANEL], so that one query meets PANEL keys at a
time without a horizontal sum; values as [n_batch, n_head, n_ctx, n_columns], where n_columns is
n_channels rounded up to whole panels. It computes no attention.
"""
from std.math import ceildiv
from .tile import PANEL, WIDTH, Floats

@fieldwise_init
struct KeysValues(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Room for n_ctx keys and values of each batch entry and head."""

    var keys: Floats
    var values: Floats
    var n_head: Int
    var n_channels: Int
    var n_ctx: Int

    @always_inline
    def n_columns(self) -> Int:
        """Floats from one value to the next."""
        return ceildiv(self.n_channels, PANEL) * PANEL

    @always_inline
    def keys_of(self, batch: Int, head: Int) -> Floats:
        var n_padded = ceildiv(self.n_ctx, PANEL) * PANEL
        return self.keys.unsafe_offset((batch * self.n_head + head) * n_padded * self.n_channels)

    @always_inline
    def values_of(self, batch: Int, head: Int) -> Floats:
        return self.values.unsafe_offset(
            (batch * self.n_head + head) * self.n_ctx * self.n_columns()
        )

    @always_inline
    def store(self, batch: Int, head: Int, position: Int, new_key: Floats, new_value: Floats):
        """Stores a key and a value of one head."""
        var key = self.keys_of(batch, head).unsafe_offset(
            position // PANEL * PANEL * self.n_channels + position % PANEL
        )
        var value = self.values_of(batch, head).unsafe_offset(position * self.n_columns())
        for c in range(self.n_channels):
            key.unsafe_store(c * PANEL, new_key.unsafe_load(c))
            value.unsafe_store(c, new_value.unsafe_load(c))

    @no_inline
    def copy_panel(self, batch: Int, source: Int, panel: Int):
        """Makes one panel of positions what it is of another batch entry."""
        var n_keys = PANEL * self.n_channels
        var first = panel * PANEL
        var n_values = (min(first + PANEL, self.n_ctx) - first) * self.n_columns()
        for head in range(self.n_head):
            var at = panel * n_keys
            move(
                self.keys_of(batch, head).unsafe_offset(at),
                self.keys_of(source, head).unsafe_offset(at),
                n_keys,
            )
            at = first * self.n_columns()
            move(
                self.values_of(batch, head).unsafe_offset(at),
                self.values_of(source, head).unsafe_offset(at),
                n_values,
            )


@always_inline
def move(into: Floats, source: Floats, n: Int):
    """Copies n floats, a multiple of WIDTH."""
    for i in range(0, n, WIDTH):
        into.unsafe_store(i, source.unsafe_load[width=WIDTH](i))
