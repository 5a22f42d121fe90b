"""Device memory as kernels see it: plain pointers, read and written several values at a time."""
from extensibility import IO, IOSpec, ManagedTensorSlice
from std.memory import Pointer

comptime F32 = DType.float32
comptime Memory[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin]
comptime Floats = Memory[F32]
comptime Integers = Memory[DType.int32]
comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
"""A buffer of the graph, written in place."""


@always_inline
def load[
    dtype: DType, //, width: Int
](source: Memory[dtype], at: Int) -> SIMD[F32, width]:
    """`width` neighbours as float32; `at` and the memory are aligned to all of them."""
    comptime size = width * (4 if dtype == F32 else 2)
    comptime alignment = min(size, 16)
    return source.unsafe_load[width=width, alignment=alignment](at).cast[F32]()


@always_inline
def memory(tensor: ManagedTensorSlice[...]) -> Memory[tensor.dtype]:
    """Where a tensor lies."""
    return rebind[Memory[tensor.dtype]](tensor.unsafe_ptr())
