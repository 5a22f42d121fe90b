"""A table of the addresses of the blocks' weights, caches and cross-attention's keys and values.

Operations over all blocks read it; it must be filled and used within one run of a graph.
"""
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice
from max.gpu.host import DeviceContext
from std.math import ceildiv
from std.memory import Pointer
from .skinny_matmul import N_PARTS
from .tile import F32, GROUP, PANEL

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
comptime Addresses = Pointer[Int64, MutUntrackedOrigin]
comptime ATTN_LN = 0
comptime QKV = 2
comptime OUT = 5
comptime CROSS_LN = 8
comptime CROSS_QUERY = 10
comptime CROSS_OUT = 13
comptime MLP_LN = 16
comptime FC1 = 18
comptime FC2 = 21
comptime KEYS = 24
comptime VALUES = 25
comptime CROSS_KEYS = 26
comptime CROSS_VALUES = 27
comptime N_ADDRESSES = 28
"""Addresses of a block: a norm is weight and bias, a dense layer panels, scales and bias."""


@fieldwise_init
struct BlockPointers(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """A block's row of the table."""

    var addresses: Addresses

    @always_inline
    def pointer[dtype: DType](self, field: Int) -> Pointer[Scalar[dtype], MutUntrackedOrigin]:
        """Returns the address at a field, such as ATTN_LN."""
        return Pointer[Scalar[dtype], MutUntrackedOrigin](
            unsafe_from_address=Int(self.addresses.unsafe_load(field))
        )


@always_inline
def address_of_scales(panels: ManagedTensorSlice, scales: ManagedTensorSlice) raises -> Int:
    """Returns where a matrix's scales begin.

    Raises:
        An error if integers are packed in other groups than kernels read.
    """
    comptime if panels.dtype.is_integral():
        var n_groups = ceildiv(panels.dim_size(1), GROUP)
        if scales.dim_size(0) != panels.dim_size(0) * n_groups * PANEL:
            raise Error("layouts.GROUP differs from GROUP in tile.mojo")
        if panels.dim_size(1) % N_PARTS != 0:
            raise Error("the width of a model in int8 is a multiple of ", N_PARTS)
    return Int(scales.unsafe_ptr())


@extensibility.register("whisper_cpu_bind_block")
struct BindBlockOp:
    """Writes one row of the table."""

    @staticmethod
    def execute[
        target: StaticString, layer: Int, n_addresses: Int
    ](
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        keys: MutableTensor[dtype=F32, rank=5, ...],
        values: MutableTensor[dtype=F32, rank=4, ...],
        attn_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        attn_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        qkv: InputTensor[rank=3, ...],
        qkv_scales: InputTensor[dtype=F32, rank=1, ...],
        qkv_bias: InputTensor[dtype=F32, rank=1, ...],
        attn_out: InputTensor[rank=3, ...],
        attn_out_scales: InputTensor[dtype=F32, rank=1, ...],
        attn_out_bias: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        query: InputTensor[rank=3, ...],
        query_scales: InputTensor[dtype=F32, rank=1, ...],
        query_bias: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_out: InputTensor[rank=3, ...],
        cross_attn_out_scales: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_out_bias: InputTensor[dtype=F32, rank=1, ...],
        mlp_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        mlp_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        fc1: InputTensor[rank=3, ...],
        fc1_scales: InputTensor[dtype=F32, rank=1, ...],
        fc1_bias: InputTensor[dtype=F32, rank=1, ...],
        fc2: InputTensor[rank=3, ...],
        fc2_scales: InputTensor[dtype=F32, rank=1, ...],
        fc2_bias: InputTensor[dtype=F32, rank=1, ...],
        cross_keys: InputTensor[rank=5, ...],
        cross_values: InputTensor[rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        """Writes a block's addresses to row `layer`, as `BlockPointers` reads them."""
        comptime assert n_addresses == N_ADDRESSES, "ops.N_ADDRESSES differs from bind_block.mojo's"
        var row = rebind[Addresses](table.unsafe_ptr()).unsafe_offset(layer * N_ADDRESSES)
        var addresses = [
            Int(attn_ln_weight.unsafe_ptr()),
            Int(attn_ln_bias.unsafe_ptr()),
            Int(qkv.unsafe_ptr()),
            address_of_scales(qkv, qkv_scales),
            Int(qkv_bias.unsafe_ptr()),
            Int(attn_out.unsafe_ptr()),
            Int(attn_out_scales.unsafe_ptr()),
            Int(attn_out_bias.unsafe_ptr()),
            Int(cross_attn_ln_weight.unsafe_ptr()),
            Int(cross_attn_ln_bias.unsafe_ptr()),
            Int(query.unsafe_ptr()),
            Int(query_scales.unsafe_ptr()),
            Int(query_bias.unsafe_ptr()),
            Int(cross_attn_out.unsafe_ptr()),
            Int(cross_attn_out_scales.unsafe_ptr()),
            Int(cross_attn_out_bias.unsafe_ptr()),
            Int(mlp_ln_weight.unsafe_ptr()),
            Int(mlp_ln_bias.unsafe_ptr()),
            Int(fc1.unsafe_ptr()),
            Int(fc1_scales.unsafe_ptr()),
            Int(fc1_bias.unsafe_ptr()),
            Int(fc2.unsafe_ptr()),
            address_of_scales(fc2, fc2_scales),
            Int(fc2_bias.unsafe_ptr()),
            Int(keys.unsafe_ptr()),
            Int(values.unsafe_ptr()),
            Int(cross_keys.unsafe_ptr()),
            Int(cross_values.unsafe_ptr()),
        ]
        for i in range(N_ADDRESSES):
            row.unsafe_store(i, Int64(addresses[i]))
