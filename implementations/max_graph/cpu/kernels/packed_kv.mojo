"""Keys and values as attention over many queries reads them: layout and storing.

In float32 they lie as in kv_cache.mojo. In bfloat16 keys lie in pairs of channels,
[n_head, n_panels, head_dim / 2, PANEL, 2], and values in pairs of positions,
[n_head, n_padded / 2, n_columns, 2]; positions are padded with zeros to a whole AMX step.
"""
from extensibility import ManagedTensorSlice
from .amx import STEP
from .matmul import copy_rows
from .row_block import Scalars, depth_of, round_up
from .tile import F32, PANEL, WIDTH, Floats


@fieldwise_init
struct PackedKV[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Keys and values of n_ctx positions of each batch entry and head."""

    var keys: Scalars[Self.dtype]
    var values: Scalars[Self.dtype]
    var n_head: Int
    var head_dim: Int
    var n_ctx: Int

    @always_inline
    def n_columns(self) -> Int:
        """Returns the numbers from one value to the next."""
        return round_up(self.head_dim, PANEL)

    @always_inline
    def keys_of(self, batch: Int, head: Int) -> Scalars[Self.dtype]:
        """Returns a head's keys."""
        return self.keys.unsafe_offset(
            (batch * self.n_head + head) * round_up(self.n_ctx, PANEL) * self.head_dim
        )

    @always_inline
    def values_of(self, batch: Int, head: Int) -> Scalars[Self.dtype]:
        """Returns a head's values."""
        return self.values.unsafe_offset(
            (batch * self.n_head + head)
            * round_up(self.n_ctx, depth_of[Self.dtype])
            * self.n_columns()
        )

    @no_inline
    def store(
        self,
        sums: Floats,
        *,
        batch: Int,
        start: Int,
        n_rows: Int,
        column: Int,
        n: Int,
        workspace: Floats,
    ):
        """Stores columns of a projection to keys and values.

        Args:
            sums: [n_rows, PANEL].
            batch: Batch entry.
            start: Position of the first row, a multiple of PANEL.
            n_rows: Rows.
            column: Column of the first of them among those of all heads' keys, then values.
            n: Columns.
            workspace: Of n_rows * PANEL floats.
        """
        var n_state = self.n_head * self.head_dim
        comptime if Self.dtype == DType.bfloat16:
            var head = column % n_state // self.head_dim
            var channel = column % self.head_dim
            if column < n_state:
                self.store_key_pairs(sums, batch, head, channel, start, n_rows, workspace)
            else:
                self.store_value_pairs(sums, batch, head, channel, start, n_rows)
        else:
            for j in range(n):
                var head = (column + j) % n_state // self.head_dim
                var channel = (column + j) % self.head_dim
                var source = sums.unsafe_offset(j)
                if column + j < n_state:
                    self.store_key(source, batch, head, channel, start, n_rows)
                    continue
                var stride = self.n_columns()
                var to = rebind[Floats](self.values_of(batch, head)).unsafe_offset(
                    start * stride + channel
                )
                if self.head_dim % PANEL == 0:  # then the whole panel is of one head
                    return copy_rows(to, stride, sums, n_rows, PANEL)
                for i in range(n_rows):
                    to.unsafe_store(i * stride, source.unsafe_load(i * PANEL))

    @always_inline
    def store_key(
        self, source: Floats, batch: Int, head: Int, channel: Int, start: Int, n_rows: Int
    ):
        """Stores one channel of n_rows keys, whose numbers are PANEL apart."""
        var keys = rebind[Floats](self.keys_of(batch, head))
        for i in range(0, n_rows, PANEL):
            var to = keys.unsafe_offset((start + i) * self.head_dim + channel * PANEL)
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
        workspace: Floats,
    ):
        """Stores PANEL channels of n_rows keys, transposed as pairs; zeros behind the last key."""
        var halves = workspace.unsafe_bitcast[BFloat16]()
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
                ((start + i) * self.head_dim + channel * PANEL) // 2
            )
            for pair in range(PANEL // 2):
                for j in range(PANEL):
                    to.unsafe_store(
                        pair * PANEL + j, pairs.unsafe_load((i + j) * PANEL // 2 + pair)
                    )

    def store_value_pairs(
        self, sums: Floats, batch: Int, head: Int, channel: Int, start: Int, n_rows: Int
    ):
        """Stores PANEL channels of n_rows values in pairs of positions; zeros behind the last."""
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
def packed_kv(
    keys: ManagedTensorSlice, values: ManagedTensorSlice, n_ctx: Int
) raises -> PackedKV[keys.dtype]:
    """Returns the keys and values that two tensors hold.

    Raises:
        An error if heads of bfloat16 do not fill the tiles of AMX; dtypes.py never asks for them.
    """
    comptime if keys.dtype == DType.bfloat16:
        if keys.dim_size(3) % STEP != 0:
            raise Error("heads of bfloat16 are whole multiples of ", STEP, " channels")
    return PackedKV[keys.dtype](
        keys=rebind[Scalars[keys.dtype]](keys.unsafe_ptr()),
        values=rebind[Scalars[keys.dtype]](values.unsafe_ptr()),
        n_head=keys.dim_size(1),
        head_dim=keys.dim_size(3),
        n_ctx=n_ctx,
    )
