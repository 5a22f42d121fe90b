"""Keys and values as attention reads them: their layout, filling and reordering.

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
    def append(
        self, kv: Floats, stride: Int, n_batch: Int, n_rows: Int, n_past: Int, n_threads: Int
    ) raises:
        """Stores n_rows keys and values of each batch entry behind its first n_past.

        A row of kv holds the keys of all heads, then the values of all heads; rows are `stride`
        floats apart.
        """

        def entry(unit: Int) {var self, var kv, var stride, var n_rows, var n_past}:
            var batch = unit // self.n_head
            var head = unit % self.n_head
            for i in range(n_rows):
                var new_key = kv.unsafe_offset(
                    (batch * n_rows + i) * stride + head * self.n_channels
                )
                var new_value = new_key.unsafe_offset(self.n_head * self.n_channels)
                self.store(batch, head, n_past + i, new_key, new_value)

        if n_rows * n_batch <= SERIAL_ROWS:
            for unit in range(n_batch * self.n_head):
                entry(unit)
            return
        var n_units = n_batch * self.n_head
        var n_tasks = n_workers(n_units, n_threads)

        def task(t: Int) {var entry, var n_units, var n_tasks}:
            for unit in range(t, n_units, n_tasks):
                entry(unit)

        sync_parallelize(task, n_tasks)

    @no_inline
    def reorder(self, sources: List[Int], n_past: Int):
        """Makes batch entry i what entry sources[i] was, as far as n_past positions go.

        Entries that stay are not touched; the others are copied aside first, since one may be
        another's source.
        """
        var n_keys = ceildiv(n_past, PANEL) * PANEL * self.n_channels
        var n_values = n_past * self.n_columns()
        var n_moved = 0
        for i in range(len(sources)):
            n_moved += Int(sources[i] != i)
        var aside = List[Float32](unsafe_uninit_length=n_moved * (n_keys + n_values))
        for head in range(self.n_head):
            comptime for is_return in range(2):
                var copy = rebind[Floats](aside.unsafe_ptr())
                for i in range(len(sources)):
                    if sources[i] == i:
                        continue
                    comptime if is_return == 0:
                        move(copy, self.keys_of(sources[i], head), n_keys)
                        move(copy.unsafe_offset(n_keys), self.values_of(sources[i], head), n_values)
                    else:
                        move(self.keys_of(i, head), copy, n_keys)
                        move(self.values_of(i, head), copy.unsafe_offset(n_keys), n_values)
                    copy = copy.unsafe_offset(n_keys + n_values)
        _ = aside^


@always_inline
def move(into: Floats, source: Floats, n: Int):
    """Copies n floats, a multiple of WIDTH."""
    for i in range(0, n, WIDTH):
        into.unsafe_store(i, source.unsafe_load[width=WIDTH](i))
