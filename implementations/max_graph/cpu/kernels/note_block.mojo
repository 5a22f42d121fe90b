"""A table of where the blocks' weights, caches and audio lie, for operations over all blocks.

It must be filled and used within one run of a graph.
"""
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice
from max.gpu.host import DeviceContext
from std.memory import Pointer
from .tile import F32

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
comptime Addresses = Pointer[Int64, MutUntrackedOrigin]
comptime ATTN_LN = 0
comptime QUERY_KEY_VALUE = 2
comptime OUT = 5
comptime CROSS_LN = 8
comptime CROSS_QUERY = 10
comptime CROSS_OUT = 13
comptime MLP_LN = 16
comptime WIDEN = 18
comptime NARROW = 21
comptime KEYS = 24
comptime VALUES = 25
comptime AUDIO_KEYS = 26
comptime AUDIO_VALUES = 27
comptime N_ADDRESSES = 28
"""A block's line of the table: a norm is weight and bias, a dense layer panels, scales and bias."""

@fieldwise_init
struct Block(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """A block's line of the table."""

    var addresses: Addresses

    @always_inline
    def at[type: DType](self, field: Int) -> Pointer[Scalar[type], MutUntrackedOrigin]:
        return Pointer[Scalar[type], MutUntrackedOrigin](
            unsafe_from_address=Int(self.addresses.unsafe_load(field))
        )


@extensibility.register("whisper_note_block")
struct NoteBlock:
    @staticmethod
    def execute[
        target: StaticString, layer: Int
    ](
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        keys: MutableTensor[dtype=F32, rank=5, ...],
        values: MutableTensor[dtype=F32, rank=4, ...],
        attn_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        attn_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        query_key_value: InputTensor[rank=3, ...],
        query_key_value_scales: InputTensor[dtype=F32, rank=1, ...],
        query_key_value_bias: InputTensor[dtype=F32, rank=1, ...],
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
        widen: InputTensor[rank=3, ...],
        widen_scales: InputTensor[dtype=F32, rank=1, ...],
        widen_bias: InputTensor[dtype=F32, rank=1, ...],
        narrow: InputTensor[rank=3, ...],
        narrow_scales: InputTensor[dtype=F32, rank=1, ...],
        narrow_bias: InputTensor[dtype=F32, rank=1, ...],
        audio_keys: InputTensor[rank=5, ...],
        audio_values: InputTensor[rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        """Writes where a block's weights, cache and audio lie, as `Block` reads it."""
        var line = rebind[Addresses](table.unsafe_ptr()).unsafe_offset(layer * N_ADDRESSES)
        var addresses = [
            Int(attn_ln_weight.unsafe_ptr()),
            Int(attn_ln_bias.unsafe_ptr()),
            Int(query_key_value.unsafe_ptr()),
            Int(query_key_value_scales.unsafe_ptr()),
            Int(query_key_value_bias.unsafe_ptr()),
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
            Int(widen.unsafe_ptr()),
            Int(widen_scales.unsafe_ptr()),
            Int(widen_bias.unsafe_ptr()),
            Int(narrow.unsafe_ptr()),
            Int(narrow_scales.unsafe_ptr()),
            Int(narrow_bias.unsafe_ptr()),
            Int(keys.unsafe_ptr()),
            Int(values.unsafe_ptr()),
            Int(audio_keys.unsafe_ptr()),
            Int(audio_values.unsafe_ptr()),
        ]
        for i in range(N_ADDRESSES):
            line.unsafe_store(i, Int64(addresses[i]))
