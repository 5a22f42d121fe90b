"""Keys and values as attention reads them: their layout and filling.

Keys lie as [n_batch, n_head, n_panels, n_channels, PANEL], so that one query meets PANEL keys at a
time without a horizontal sum; values as [n_batch, n_head, n_ctx, n_columns], where n_columns is
n_channels rounded up to whole panels. It computes no attention.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .threads import allowed, n_workers
from .tile import F32, PANEL, WIDTH, Floats, floats

comptime SERIAL_ROWS = 64
"""Up to this many new rows are stored by one thread."""


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

    @no_inline
    def begin(self, kv: Floats, stride: Int, n_rows: Int, n_threads: Int) raises:
        """Stores n_rows keys and values as the first of batch entry 0.

        A row of kv holds the keys of all heads, then the values of all heads; rows are `stride`
        floats apart.
        """

        def head_of(head: Int) {var self, var kv, var stride, var n_rows}:
            for i in range(n_rows):
                var new_key = kv.unsafe_offset(i * stride + head * self.n_channels)
                var new_value = new_key.unsafe_offset(self.n_head * self.n_channels)
                self.store(0, head, i, new_key, new_value)

        if n_rows <= SERIAL_ROWS:
            for head in range(self.n_head):
                head_of(head)
            return
        var n_head = self.n_head
        var n_tasks = n_workers(n_head, n_threads)

        def task(t: Int) {var head_of, var n_head, var n_tasks}:
            for head in range(t, n_head, n_tasks):
                head_of(head)

        sync_parallelize(task, n_tasks)


@always_inline
def move(into: Floats, source: Floats, n: Int):
    """Copies n floats, a multiple of WIDTH."""
    for i in range(0, n, WIDTH):
        into.unsafe_store(i, source.unsafe_load[width=WIDTH](i))
