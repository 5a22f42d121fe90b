"""Number of multiprocessors of the GPU, by which work is divided among blocks."""
from max.gpu.host import DeviceAttribute, DeviceContext

comptime INFO = DeviceContext.default_device_info


@always_inline
def multiprocessors(ctx: DeviceContext) raises -> Int:
    """Returns the multiprocessors: of an architecture with one kind of GPU known when compiled.

    Others are asked, since GPUs of one architecture have from 10 to 188 of them.
    """
    comptime if INFO.compute == 9.0:
        return INFO.sm_count
    else:
        return ctx.get_attribute(DeviceAttribute.MULTIPROCESSOR_COUNT)
