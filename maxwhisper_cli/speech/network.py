"""Silero's network for voice activity, in numpy: the probability of speech in each frame of 32 ms.

A frame of 512 samples, behind the 64 before it and before a mirror image of its last 64, becomes
four columns of a short-time spectrum. Four convolutions reduce them to one column, which an LSTM
reads. All but the LSTM is computed for many frames at once. The graph in the network's file is
not read: this module is that graph. It finds no file and holds no state of a recording.

Source: the graph of silero_vad_16k_op15.onnx, of silero-vad 6.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.speech.tiled_matrix import N_ROWS, Float32, TiledMatrix
from weights.errors import WeightsError

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
"""Samples before a frame that the network reads with it."""
FRAMES_MULTIPLE = N_ROWS
"""Number of frames, or a multiple of it, that the network computes at once."""
_N_FFT, _HOP, _N_BINS = 256, 128, 129
_N_COLUMNS = 4
_N_STATE = 128
_STRIDES = (1, 2, 2, 1)
"""Stride of each convolution."""
_N_GATES = 4
_N_BLOCKS = 8
"""Blocks of rows of the recurrent matrix, small enough for one thread as tiles are."""

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "model.stft.forward_basis_buffer": (2 * _N_BINS, 1, _N_FFT),
    "model.encoder.0.reparam_conv.weight": (128, _N_BINS, 3),
    "model.encoder.0.reparam_conv.bias": (128,),
    "model.encoder.1.reparam_conv.weight": (64, 128, 3),
    "model.encoder.1.reparam_conv.bias": (64,),
    "model.encoder.2.reparam_conv.weight": (64, 64, 3),
    "model.encoder.2.reparam_conv.bias": (64,),
    "model.encoder.3.reparam_conv.weight": (_N_STATE, 64, 3),
    "model.encoder.3.reparam_conv.bias": (_N_STATE,),
    "model.decoder.rnn.weight_ih": (_N_GATES * _N_STATE, _N_STATE),
    "model.decoder.rnn.weight_hh": (_N_GATES * _N_STATE, _N_STATE),
    "model.decoder.rnn.bias_ih": (_N_GATES * _N_STATE,),
    "model.decoder.rnn.bias_hh": (_N_GATES * _N_STATE,),
    "model.decoder.decoder.2.weight": (1, _N_STATE, 1),
    "model.decoder.decoder.2.bias": (1,),
}
"""Tensors by name, with the shape of each."""


def _zero_state() -> Float32:
    return np.zeros(_N_STATE, np.float32)


@dataclass(slots=True)
class LstmState:
    """State of the LSTM between two frames; zeros before the first."""

    hidden: Float32 = field(default_factory=_zero_state)
    cell: Float32 = field(default_factory=_zero_state)


@dataclass(frozen=True, slots=True)
class StreamFrames:
    """Frames of one stream, and the state that reads them."""

    inputs: Float32
    """Result of `gate_inputs` for them, [n_frames, 512]."""
    state: LstmState
    reset_at: int = -1
    """Frame before which the state begins anew; -1 for none."""


class VoiceNetwork:
    """Weights, laid out for the pass; may be shared by recordings and threads."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Lays out the tensors of the file, by their names there.

        Raises:
            WeightsError: One is missing, or has another shape.
        """
        _check(tensors)
        encoder, rnn, output = "model.encoder", "model.decoder.rnn", "model.decoder.decoder.2"
        self._basis = TiledMatrix(tensors["model.stft.forward_basis_buffer"][:, 0].T)
        self._layers: list[tuple[TiledMatrix, Float32]] = []
        n_columns = _N_COLUMNS
        for index, stride in enumerate(_STRIDES):
            weight = tensors[f"{encoder}.{index}.reparam_conv.weight"]
            matrix, n_columns = _as_matrix(weight, n_columns, stride)
            bias = np.tile(tensors[f"{encoder}.{index}.reparam_conv.bias"], n_columns)
            self._layers.append((TiledMatrix(matrix), bias))
        # sigmoid(x) is (1 + tanh(x / 2)) / 2, so that one tanh serves the gates i, f, g and o.
        self._scale = np.full(_N_GATES * _N_STATE, 0.5, np.float32)
        self._scale[2 * _N_STATE : 3 * _N_STATE] = 1
        self._offset = 1 - self._scale
        scale = self._scale[:, None]
        self._input = TiledMatrix((tensors[f"{rnn}.weight_ih"] * scale).T)
        recurrent = np.ascontiguousarray(tensors[f"{rnn}.weight_hh"] * scale)
        self._recurrent = recurrent.reshape(_N_BLOCKS, -1, _N_STATE)
        self._recurrent_rows = TiledMatrix(recurrent.T)
        self._bias = (tensors[f"{rnn}.bias_ih"] + tensors[f"{rnn}.bias_hh"]) * self._scale
        self._output = np.ascontiguousarray(tensors[f"{output}.weight"].reshape(_N_STATE))
        self._output_bias = tensors[f"{output}.bias"].astype(np.float32)

    def probabilities(self, inputs: Float32, state: LstmState) -> Float32:
        """Computes the probability of speech in each frame, and moves the state behind them.

        Args:
            inputs: What `gate_inputs` returns for the frames, [n_frames, 512].
            state: State before the first frame.

        Returns:
            [n_frames].
        """
        return self._spoken(self._lstm(inputs, state))

    def probabilities_together(self, streams: Sequence[StreamFrames]) -> list[Float32]:
        """Computes the probabilities of several streams at once, and moves their states.

        Rows are computed in tiles of 8, so that none depends on its neighbours.

        Returns:
            [n_frames] of each stream.
        """
        order = sorted(range(len(streams)), key=lambda index: -len(streams[index].inputs))
        rows = [streams[index] for index in order]
        lengths = np.array([len(row.inputs) for row in rows])
        n_rows = -(-len(rows) // N_ROWS) * N_ROWS
        inputs = np.zeros((lengths[0], n_rows, _N_GATES * _N_STATE), np.float32)
        hidden, cell = np.zeros((2, n_rows, _N_STATE), np.float32)
        resets = np.full(n_rows, -1)
        for index, row in enumerate(rows):
            inputs[: len(row.inputs), index] = row.inputs
            hidden[index], cell[index] = row.state.hidden, row.state.cell
            resets[index] = row.reset_at
        outputs = np.zeros((lengths[0], n_rows, _N_STATE), np.float32)  # rows that end stay so
        for at in range(lengths[0]):
            n_live = np.count_nonzero(lengths > at)
            tiles = slice(-(-n_live // N_ROWS) * N_ROWS)
            if (is_reset := resets[tiles] == at).any():
                hidden[tiles][is_reset] = cell[tiles][is_reset] = 0
            outputs[at, tiles] = self._step_rows(hidden[tiles], cell[tiles], inputs[at, tiles])
            hidden[tiles] = outputs[at, tiles]
            for ended in np.flatnonzero(lengths == at + 1).tolist():
                rows[ended].state.hidden = outputs[at, ended].copy()
                rows[ended].state.cell = cell[ended].copy()
        found = self._spoken(outputs)
        by_stream = dict(zip(order, range(len(order)), strict=True))
        return [
            found[: len(stream.inputs), by_stream[index]] for index, stream in enumerate(streams)
        ]

    def _step_rows(self, hidden: Float32, cell: Float32, inputs: Float32) -> Float32:
        """Returns the next hidden states, [n_rows, 128] -> [n_rows, 128]; `cell` is moved."""
        gates = self._recurrent_rows.multiplied_from_left(hidden)
        gates += inputs
        np.tanh(gates, out=gates)
        gates *= self._scale
        gates += self._offset
        input_gate, forget_gate, candidate, output_gate = np.split(gates, _N_GATES, axis=1)
        cell *= forget_gate
        input_gate *= candidate
        cell += input_gate
        following: Float32 = np.tanh(cell)
        following *= output_gate
        return following

    def _spoken(self, hidden: Float32) -> Float32:
        """[..., 128] -> [...]: probabilities; `hidden` is overwritten."""
        np.maximum(hidden, 0, out=hidden)
        half_logits: Float32 = np.float32(0.5) * (hidden @ self._output + self._output_bias)
        probabilities: Float32 = np.float32(0.5) * np.tanh(half_logits) + np.float32(0.5)
        return probabilities

    def gate_inputs(self, samples: Float32) -> Float32:
        """[64 + 512 n_frames] -> [n_frames, 512]: the input's part of the LSTM's gates.

        Args:
            samples: The 64 samples before the first frame, then the frames: a multiple of 8.
        """
        return self.gate_inputs_of(frames_of(samples))

    def gate_inputs_of(self, frames: Float32) -> Float32:
        """[n_frames, 576] -> [n_frames, 512]; frames of any streams, a multiple of 8 of them."""
        spectrum = self._basis.multiplied_from_left(_windows(frames).reshape(-1, _N_FFT))
        np.square(spectrum, out=spectrum)
        power = spectrum[:, :_N_BINS]
        power += spectrum[:, _N_BINS:]
        columns = np.sqrt(power).reshape(-1, _N_COLUMNS * _N_BINS)
        for matrix, bias in self._layers:
            columns = matrix.multiplied_from_left(columns)
            columns += bias
            np.maximum(columns, 0, out=columns)
        gates = self._input.multiplied_from_left(columns)
        gates += self._bias
        return gates

    def _lstm(self, inputs: Float32, state: LstmState) -> Float32:
        """[n_frames, 512] -> [n_frames, 128], frame after frame; nothing is allocated between."""
        outputs = np.empty((len(inputs), _N_STATE), np.float32)
        blocks = np.empty(self._recurrent.shape[:2], np.float32)
        gates = blocks.reshape(-1)
        input_gate, forget_gate, candidate, output_gate = gates.reshape(_N_GATES, _N_STATE)
        hidden, cell = state.hidden, state.cell.copy()
        for index, row in enumerate(inputs):
            np.matmul(self._recurrent, hidden, out=blocks)
            gates += row
            np.tanh(gates, out=gates)
            gates *= self._scale
            gates += self._offset
            cell *= forget_gate
            input_gate *= candidate
            cell += input_gate
            hidden = outputs[index]
            np.tanh(cell, out=hidden)
            hidden *= output_gate
        state.hidden, state.cell = hidden.copy(), cell
        return outputs


def _check(tensors: Mapping[str, npt.NDArray[np.floating]]) -> None:
    for name, shape in _SHAPES.items():
        found = tensors[name].shape if name in tensors else None
        if found != shape:
            actual = "is missing" if found is None else f"has shape {list(found)}"
            raise WeightsError(
                f"the network of voice activity is not silero-vad's of version 6.2: {name} {actual}"
            )


def _as_matrix(
    weight: npt.NDArray[np.floating], n_columns: int, stride: int
) -> tuple[Float32, int]:
    """Returns a convolution of width 3 over so few columns as one matrix, and its output columns.

    Both sides are padded with one column of zeros.

    Returns:
        `[n_columns * n_in, n_output_columns * n_out]`, n_output_columns.
    """
    n_out, n_in, width = weight.shape
    n_output_columns = (n_columns - 1) // stride + 1
    matrix = np.zeros((n_columns, n_in, n_output_columns, n_out), np.float32)
    for output in range(n_output_columns):
        for tap in range(width):
            column = output * stride + tap - 1
            if 0 <= column < n_columns:
                matrix[column, :, output] = weight[:, :, tap].T
    return matrix.reshape(n_columns * n_in, n_output_columns * n_out), n_output_columns


def frames_of(samples: Float32) -> Float32:
    """[64 + 512 n_frames] -> [n_frames, 576]: each frame behind the 64 samples before it."""
    n_read = CONTEXT_SAMPLES + FRAME_SAMPLES
    if len(samples) < n_read:
        return np.zeros((0, n_read), np.float32)
    frames: Float32 = np.lib.stride_tricks.sliding_window_view(samples, n_read)[::FRAME_SAMPLES]
    return frames


def _windows(frames: Float32) -> Float32:
    """[n_frames, 576] -> [n_frames, 4, 256]: windows 128 apart, the last of them mirrored."""
    n_read = CONTEXT_SAMPLES + FRAME_SAMPLES
    windows = np.empty((len(frames), _N_COLUMNS, _N_FFT), np.float32)
    for column in range(_N_COLUMNS - 1):
        windows[:, column] = frames[:, column * _HOP : column * _HOP + _N_FFT]
    n_left = n_read - (_N_COLUMNS - 1) * _HOP
    windows[:, -1, :n_left] = frames[:, -n_left:]
    windows[:, -1, n_left:] = frames[:, -2 : n_left - _N_FFT - 2 : -1]  # without the edge itself
    return windows
