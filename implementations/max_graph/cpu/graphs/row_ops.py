"""The operation of a step of rows of several windows, as a function on graph values."""

from collections.abc import Sequence
from typing import Any

from max.graph import BufferValue, TensorValue, Value, ops

from implementations.max_graph.cpu.graphs.ops import CPU, TOKEN_STATE, Parameters, StepInputs

N_ROW_ADDRESSES = 4
"""Addresses of a row in each layer: cached keys and values, then the audio's."""


def decode_rows(inputs: StepInputs, choice: BufferValue, rows: Sequence[TensorValue]) -> None:
    """One token for each of n_rows -> choice [n_rows, 2, k_max]: tokens, log-probabilities.

    `rows` are states, rules, ranks (tokens wanted, or 0 for a drawn one), temperatures, draws,
    addresses, groups, slots and source slots; see decode_rows.mojo.
    """
    values: list[Value[Any]] = [inputs.table, choice, *rows, *inputs.operands()]
    fields: Parameters = {"n_row_addresses": N_ROW_ADDRESSES}
    parameters = inputs.parameters() | TOKEN_STATE | fields
    ops.inplace_custom("whisper_cpu_decode_rows", CPU, values, parameters=parameters)
