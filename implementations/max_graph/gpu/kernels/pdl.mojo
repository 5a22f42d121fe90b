"""Programmatic dependent launch: a kernel starts while the one before it still runs.

A kernel that is launched with `pdl_attributes` reads weights, which never change, and waits before
it touches anything else.
"""
from max.gpu.host.launch_attribute import LaunchAttribute
from max.gpu.primitives.grid_controls import (
    PDLLevel,
    launch_dependent_grids,
    pdl_launch_attributes,
    wait_on_dependent_grids,
)


def pdl_attributes() -> List[LaunchAttribute]:
    """Returns the attributes of a launch that may start before the kernel ahead of it has ended."""
    return pdl_launch_attributes(PDLLevel.ON)


@always_inline
def launch_dependents():
    """Lets the next kernel start; it sees what is written here only after its own wait."""
    launch_dependent_grids()


@always_inline
def wait_on_dependencies():
    """Waits until all that earlier kernels wrote is visible."""
    wait_on_dependent_grids()
