"""Pointers into device memory, and loads of several values at a time."""
from extensibility import IO, IOSpec, ManagedTensorSlice
from std.memory import Pointer

comptime F32 = DType.float32
comptime DevicePointer[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin]
comptime FloatPointer = DevicePointer[F32]
comptime IntPointer = DevicePointer[DType.int32]
comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
"""A buffer of the graph, which an operation writes to."""


@always_inline
def load[
    dtype: DType, //, width: Int
](source: DevicePointer[dtype], at: Int) -> SIMD[F32, width]:
    """Returns neighbours as float32.

    Parameters:
        dtype: One of float32, float16 and bfloat16.
        width: Number of values.

    Args:
        source: Device memory.
        at: Offset of the first value; source and offset are aligned to all of them.
    """
    comptime size = width * (4 if dtype == F32 else 2)
    comptime alignment = min(size, 16)
    return source.unsafe_load[width=width, alignment=alignment](at).cast[F32]()


@always_inline
def pointer(tensor: ManagedTensorSlice[...]) -> DevicePointer[tensor.dtype]:
    """Returns the address of a tensor."""
    return rebind[DevicePointer[tensor.dtype]](tensor.unsafe_ptr())
