"""How kernels follow each other closely: a kernel starts while the one before it still runs.

A kernel that is launched `early` reads what never changes, such as matrices, and then waits before
it touches anything else.
"""
from max.gpu.host.launch_attribute import LaunchAttribute
from max.gpu.primitives.grid_controls import (
    PDLLevel,
    launch_dependent_grids,
    pdl_launch_attributes,
    wait_on_dependent_grids,
)


def early() -> List[LaunchAttribute]:
    """What lets a kernel start before the one ahead of it has ended."""
    return pdl_launch_attributes(PDLLevel.ON)


@always_inline
def let_next_start():
    """The kernel that follows may start; what is written here it will see only after its wait."""
    launch_dependent_grids()


@always_inline
def wait_for_previous():
    """From here on all that kernels before this one wrote is there."""
    wait_on_dependent_grids()
