"""Im2col of a convolution of kernel size 3: each frame beside its two neighbours, for float32.

In half precision gemm_tma.mojo reads the neighbours in place.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .pointers import DevicePointer, pointer

comptime THREADS = 256


def im2col_kernel[
    *, in_type: DType, out_type: DType, stride: Int, channels_first: Bool
](
    output: DevicePointer[out_type],
    x: DevicePointer[in_type],
    n_values: Int32,
    n_frames: Int32,
    n_in: Int32,
):
    """Copies a value by each thread; see `Im2col`."""
    var at = Int(block_idx.x) * THREADS + Int(thread_idx.x)
    if at >= Int(n_values):
        return
    var frames = Int(n_frames)
    var channels = Int(n_in)
    var channel = at % channels
    var tap = at // channels % 3
    var row = at // (3 * channels)
    var n_out_frames = frames // stride
    var frame = row % n_out_frames * stride + tap - 1
    var batch = row // n_out_frames
    var value = Scalar[in_type](0)
    if frame >= 0 and frame < frames:
        comptime if channels_first:
            value = x[unsafe_offset=(batch * channels + channel) * frames + frame]
        else:
            value = x[unsafe_offset=(batch * frames + frame) * channels + channel]
    output[unsafe_offset=at] = value.cast[out_type]()


@extensibility.register("whisper_gpu_im2col")
struct Im2col:
    @staticmethod
    def execute[
        target: StaticString, stride: Int, channels_first: Bool
    ](
        output: OutputTensor[rank=3, ...],
        x: InputTensor[rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Copies each frame and its neighbours side by side, with zeros beyond the ends.

        Parameters:
            target: Device of the graph.
            stride: Frames from row to row.
            channels_first: True where x is [n_batch, n_in, n_frames].

        Args:
            output: [n_batch, n_frames / stride, 3 * n_in].
            x: [n_batch, n_frames, n_in].
            ctx: Stream.
        """
        var n_values = output.dim_size(0) * output.dim_size(1) * output.dim_size(2)
        ctx.enqueue_function[
            im2col_kernel[
                in_type = x.dtype,
                out_type = output.dtype,
                stride=stride,
                channels_first=channels_first,
            ]
        ](
            pointer(output),
            pointer(x),
            Int32(n_values),
            Int32(x.dim_size(2 if channels_first else 1)),
            Int32(x.dim_size(1 if channels_first else 2)),
            grid_dim=ceildiv(n_values, THREADS),
            block_dim=THREADS,
        )
