"""Addresses of rows of several windows: keys and values, and each row's position.

The addresses hold for one run of a graph; the host keeps the arrays that they name.
"""
from std.memory import Pointer
from .bind_block import Addresses
from .thread_team import Integers
from .tile import F32, Floats
from .token_rules import N_FIELDS, OFFSET

comptime N_ROW_ADDRESSES = 4
"""Addresses of a row in each layer: cached keys and values, then the audio's."""


@fieldwise_init
struct RowTable(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The table, or none where all rows are of the window that the table of blocks names."""

    var addresses: Addresses
    """[n_rows, n_layer * N_ROW_ADDRESSES + 1]; the last is the row's mask of tokens."""
    var state: Integers
    """[n_rows, N_FIELDS]."""
    var groups: Integers
    """[n_groups + 1]: the first row of each run of rows that share a window, then n_rows."""
    var n_groups: Int
    """0 where there is no table."""
    var n_layer: Int

    @always_inline
    @staticmethod
    def none(addresses: Addresses, integers: Integers) -> Self:
        """Returns no table; the arguments are not read."""
        return Self(addresses, integers, integers, 0, 0)

    @always_inline
    def stride(self) -> Int:
        """Returns the addresses of a row."""
        return self.n_layer * N_ROW_ADDRESSES + 1

    @always_inline
    def pointer[
        dtype: DType
    ](self, row: Int, layer: Int, field: Int) -> Pointer[Scalar[dtype], MutUntrackedOrigin]:
        """Returns one of a row's addresses in a layer."""
        var at = row * self.stride() + layer * N_ROW_ADDRESSES + field
        return Pointer[Scalar[dtype], MutUntrackedOrigin](
            unsafe_from_address=Int(self.addresses.unsafe_load(at))
        )

    @always_inline
    def masks(self) -> Addresses:
        """Returns where the address of the first row's mask lies, `stride` before the next."""
        return self.addresses.unsafe_offset(self.n_layer * N_ROW_ADDRESSES)

    @always_inline
    def n_past(self, row: Int) -> Int:
        """Returns the position of a row's next token."""
        return Int(self.state.unsafe_load(row * N_FIELDS + OFFSET))

    @always_inline
    def first(self, group: Int) -> Int:
        """Returns the first row of a group."""
        return Int(self.groups.unsafe_load(group))
