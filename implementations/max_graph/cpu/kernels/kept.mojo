"""Keys and values of all positions as attention over many queries reads them, and storing them.

In float32 they lie as in keys_values.mojo. In bfloat16, for AMX, keys lie in pairs of channels,
[n_head, n_panels, n_channels / 2, PANEL, 2], and values in pairs of positions,
[n_head, n_padded / 2, n_columns, 2]; positions are padded with zeros to a whole AMX step.
"""
from extensibility import ManagedTensorSlice
from .products import copy_rows
from .row_block import Numbers, depth_of, round_up
from .tile import F32, PANEL, WIDTH, Floats


@fieldwise_init
struct Kept[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Room for the keys and values of n_ctx positions of each batch entry and head."""

    var keys: Numbers[Self.dtype]
    var values: Numbers[Self.dtype]
    var n_head: Int
    var n_channels: Int
    var n_ctx: Int

    @always_inline
    def n_columns(self) -> Int:
        """Numbers from one value to the next."""
        return round_up(self.n_channels, PANEL)

    @always_inline
    def keys_of(self, batch: Int, head: Int) -> Numbers[Self.dtype]:
        return self.keys.unsafe_offset(
            (batch * self.n_head + head) * round_up(self.n_ctx, PANEL) * self.n_channels
        )

    @always_inline
    def values_of(self, batch: Int, head: Int) -> Numbers[Self.dtype]:
        return self.values.unsafe_offset(
            (batch * self.n_head + head)
            * round_up(self.n_ctx, depth_of[Self.dtype])
            * self.n_columns()
        )

    @no_inline
    def store(
        self, sums: Floats, batch: Int, start: Int, n_rows: Int, column: Int, n: Int, room: Floats
    ):
        """Stores n columns of sums [n_rows, PANEL], those of all keys and values from `column` on.

        start is the position of the first row, a multiple of PANEL; `room` is for as many sums.
        """
        var n_state = self.n_head * self.n_channels
        comptime if Self.dtype == DType.bfloat16:
            var head = column % n_state // self.n_channels
            var channel = column % self.n_channels
            if column < n_state:
                self.store_key_pairs(sums, batch, head, channel, start, n_rows, room)
            else:
                self.store_value_pairs(sums, batch, head, channel, start, n_rows)
        else:
            for j in range(n):
                var head = (column + j) % n_state // self.n_channels
                var channel = (column + j) % self.n_channels
                var source = sums.unsafe_offset(j)
                if column + j < n_state:
                    self.store_key(source, batch, head, channel, start, n_rows)
                    continue
                var stride = self.n_columns()
                var to = rebind[Floats](self.values_of(batch, head)).unsafe_offset(
                    start * stride + channel
                )
                if self.n_channels % PANEL == 0:  # then the whole panel is of one head
                    return copy_rows(to, stride, sums, n_rows, PANEL)
                for i in range(n_rows):
                    to.unsafe_store(i * stride, source.unsafe_load(i * PANEL))

    @always_inline
    def store_key(
        self, source: Floats, batch: Int, head: Int, channel: Int, start: Int, n_rows: Int
    ):
        """One channel of n_rows keys."""
        var keys = rebind[Floats](self.keys_of(batch, head))
        for i in range(0, n_rows, PANEL):
            var to = keys.unsafe_offset((start + i) * self.n_channels + channel * PANEL)
            for j in range(min(PANEL, n_rows - i)):
                to.unsafe_store(j, source.unsafe_load((i + j) * PANEL))

    def store_key_pairs(
        self,
        sums: Floats,
        batch: Int,
        head: Int,
        channel: Int,
        start: Int,
        n_rows: Int,
        room: Floats,
    ):
        """PANEL channels of n_rows keys, turned as pairs; zeros behind the last key."""
        var halves = room.unsafe_bitcast[BFloat16]()
        var n_padded = round_up(n_rows, PANEL)
        for i in range(n_padded * PANEL // WIDTH):
            var x = sums.unsafe_load[width=WIDTH](i * WIDTH)
            if i * WIDTH >= n_rows * PANEL:
                x = 0
            halves.unsafe_store(i * WIDTH, x.cast[DType.bfloat16]())
        var pairs = halves.unsafe_bitcast[UInt32]()
        var keys = self.keys_of(batch, head).unsafe_bitcast[UInt32]()
        for i in range(0, n_padded, PANEL):
            var to = keys.unsafe_offset(
                ((start + i) * self.n_channels + channel * PANEL) // 2
            )
            for pair in range(PANEL // 2):
                for j in range(PANEL):
                    to.unsafe_store(
                        pair * PANEL + j, pairs.unsafe_load((i + j) * PANEL // 2 + pair)
                    )

    def store_value_pairs(
        self, sums: Floats, batch: Int, head: Int, channel: Int, start: Int, n_rows: Int
    ):
        """PANEL channels of n_rows values, two positions side by side; zeros behind the last."""
        var n_columns = self.n_columns()
        var values = self.values_of(batch, head)
        for i in range(0, round_up(n_rows, depth_of[Self.dtype]), 2):
            var to = values.unsafe_offset((start + i) * n_columns + 2 * channel)
            for j in range(0, PANEL, WIDTH):
                var even = SIMD[F32, WIDTH](0)
                var odd = SIMD[F32, WIDTH](0)
                if i < n_rows:
                    even = sums.unsafe_load[width=WIDTH](i * PANEL + j)
                if i + 1 < n_rows:
                    odd = sums.unsafe_load[width=WIDTH]((i + 1) * PANEL + j)
                to.unsafe_store(2 * j, even.interleave(odd).cast[Self.dtype]())


@always_inline
def kept(keys: ManagedTensorSlice, values: ManagedTensorSlice, n_ctx: Int) -> Kept[keys.dtype]:
    """The two tensors of n_ctx keys and values together."""
    return Kept[keys.dtype](
        rebind[Numbers[keys.dtype]](keys.unsafe_ptr()),
        rebind[Numbers[keys.dtype]](values.unsafe_ptr()),
        keys.dim_size(1),
        keys.dim_size(3),
        n_ctx,
    )
