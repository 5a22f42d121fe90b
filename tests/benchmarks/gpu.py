"""On an NVIDIA GPU: `full-max` in half precision beside openai-whisper's model (`cuda`).

Encoder and decoder step for the sizes of several models, whole recordings for those whose weights
are here; the others get random weights, whose times are the same. All in one process, taking turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from max.driver import Buffer
from rich.console import Console
from rich.table import Table

from implementations import registry
from implementations.implementation import Implementation
from implementations.max_graph.gpu.device_rules import fill
from implementations.max_graph.gpu.implementation import GpuFullMax
from implementations.max_graph.gpu.load import CapturedGraph
from implementations.max_graph.gpu.sampling_decoder import SamplingDecoder
from implementations.options import LoadOptions
from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from maxwhisper_cli.model import Model
from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.benchmarks.rivals_prepare import joined
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions
from weights.errors import MaxWhisperError
from weights.names import expected_shapes
from weights.resolve import load

RANDOM = {
    "turbo": ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4),
    "large-v3": ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32),
}
BATCHES = (1, 32)
POSITION = 100
"""Position in the text of the timed step."""
GREEDY = TranscribeOptions(language="en", beam_size=None, temperatures=(0.0,))
BEAMS = TranscribeOptions(language="en", beam_size=5, temperatures=(0.0,))


@dataclass(frozen=True, slots=True)
class Timed:
    """One line of the table, in milliseconds."""

    what: str
    ours: float
    theirs: float | None
    note: str
    """Rate of ours: operations, bytes or audio per second."""


def main() -> None:
    """Measures what was asked for, and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="tiny.en,base,turbo,large-v3")
    parser.add_argument("--runs", type=int, default=5, help="of each whole recording")
    arguments = parser.parse_args()
    console = Console(width=110)
    for name in arguments.models.split(","):
        try:
            checkpoint, has_weights = checkpoint_for(name)
        except MaxWhisperError as error:
            console.print(f"{name}: {error}")
            continue
        ours, theirs = (implementation(kind, checkpoint) for kind in ("full-max", "cuda"))
        rows = [*encoder_rows(ours, theirs), *step_rows(ours, theirs)]
        if has_weights:
            rows += recording_rows(ours, theirs, arguments.runs)
        console.print(table(name, device_name(), has_weights, rows))
        ours.close()
        theirs.close()


def checkpoint_for(name: str) -> tuple[Checkpoint, bool]:
    """A model's weights, or random ones of its sizes; and whether they are its own."""
    if name not in RANDOM:
        return load(name, model_dir=None, offline=True, progress=None), True
    random = np.random.default_rng(0)
    tensors = {
        key: (random.standard_normal(shape, np.float32) * 0.02).astype(np.float16)
        for key, shape in expected_shapes(RANDOM[name]).items()
    }
    return Checkpoint(RANDOM[name], tensors, ((0, 0),), Path("random")), False


def implementation(kind: str, checkpoint: Checkpoint) -> Implementation:
    options = LoadOptions(device="cuda", dtype="float16", on_compile=print)
    return registry.implementation_class(kind).load(checkpoint, options)


def device_name() -> str:
    import torch

    return str(torch.cuda.get_device_name(0))


def milliseconds(run: Callable[[], object], wait: Callable[[], None], repeats: int) -> float:
    """Median over 10 rounds of the time per run, the device's work included."""
    times = []
    for _ in range(12):
        began = time.perf_counter()
        for _ in range(repeats):
            run()
        wait()
        times.append((time.perf_counter() - began) / repeats)
    return statistics.median(times[2:]) * 1e3


def encoder_rows(ours: Implementation, theirs: Implementation) -> list[Timed]:
    """Mel windows to features, both on the device."""
    import torch

    assert isinstance(ours, GpuFullMax)
    rows = []
    model = theirs._model  # type: ignore[attr-defined]
    for n_batch in BATCHES:
        shape = (n_batch, ours.dims.n_mels, 3000)
        mel = np.random.default_rng(0).standard_normal(shape, np.float32)
        uploaded = ours._graphs.upload(mel)
        encoder = ours._graphs.models["encoder"]
        encoder.execute(uploaded)
        captured = CapturedGraph.capture(encoder, uploaded)
        on_torch = torch.from_numpy(mel).cuda().half()
        ours_window = milliseconds(captured.replay, ours._graphs.device.synchronize, 5) / n_batch
        with torch.no_grad():
            batch = milliseconds(lambda: model.encoder(on_torch), torch.cuda.synchronize, 2)  # noqa: B023
        note = f"{encoder_operations(ours.dims) / ours_window * 1e-9:.0f} TFLOP/s"
        what = f"encoder, a window, batch {n_batch}"
        rows.append(Timed(what, ours_window, batch / n_batch, note))
    return rows


def encoder_operations(dims: ModelDimensions) -> float:
    """Multiplications and additions of a window's products."""
    n_ctx, n_state = dims.n_audio_ctx, dims.n_audio_state
    stem = 2 * n_ctx * 3 * n_state * (2 * dims.n_mels + n_state)
    block = 2 * n_ctx * 12 * n_state**2 + 4 * n_ctx**2 * n_state
    return stem + dims.n_audio_layer * block


def step_bytes(dims: ModelDimensions, n_batch: int) -> float:
    """Returns the bytes that a step at `POSITION` reads at least, in half precision."""
    n_state = dims.n_text_state
    weights = dims.n_text_layer * 14 * n_state**2 + dims.n_vocab * n_state
    kv_values = dims.n_text_layer * 2 * n_state * (dims.n_audio_ctx + POSITION)
    return 2.0 * (weights + n_batch * kv_values)


def stepping_decoder(ours: GpuFullMax, n_rows: int) -> SamplingDecoder:
    """Returns a decoder in the middle of texts, which has taken its first step."""
    dims = ours.dims
    shape = (n_rows, dims.n_audio_ctx, dims.n_text_layer * 2 * dims.n_text_state)
    audio = Buffer.zeros(shape, ours._models.dtype, ours._graphs.device)
    decoder = SamplingDecoder(ours._models, audio)
    states = np.zeros((n_rows, 8), np.int32)
    states[:, 1], states[:, 5] = POSITION, 1
    fill(decoder.buffers["states"], states)
    decoder.step()
    return decoder


def step_rows(ours: Implementation, theirs: Implementation) -> list[Timed]:
    """One token more: ours with all rules and the choice of it, theirs up to the logits."""
    assert isinstance(ours, GpuFullMax)
    rows = []
    dims = ours.dims
    for n_batch in BATCHES:
        decoder = stepping_decoder(ours, n_batch)
        silence = theirs.encode(np.zeros((1, dims.n_mels, 3000), np.float32))
        with theirs.start(silence, n_batch) as s:
            s.prefill([1] * POSITION, [POSITION - 1])
            tokens = np.ones(n_batch, np.int64)
            step = milliseconds(lambda: s.step(tokens), lambda: None, 1)  # noqa: B023
        ours_step = milliseconds(decoder.step, ours._graphs.device.synchronize, 10)
        note = f"{step_bytes(dims, n_batch) / ours_step * 1e-9:.2f} TB/s; theirs: logits only"
        rows.append(Timed(f"decoder step, batch {n_batch}", ours_step, step, note))
    return rows


def recording_rows(ours: Implementation, theirs: Implementation, n_runs: int) -> list[Timed]:
    """160 s window after window, and an hour in batches; `theirs` has no batches."""
    with open_audio(fetch_samples(["sonnet"])["sonnet"]) as audio:
        clip = joined([audio.read()] * 3)
    rows = []
    seconds = len(clip) / SAMPLE_RATE
    with_words = replace(GREEDY, word_timestamps=True)
    for words, options in (("greedy", GREEDY), ("with words", with_words), ("beam 5", BEAMS)):
        took, theirs_took = (seconds_of(each, clip, options, n_runs) for each in (ours, theirs))
        note = f"{seconds / took:,.0f} x real time"
        rows.append(Timed(f"{seconds:.0f} s, {words}", took * 1e3, theirs_took * 1e3, note))
    hour = np.tile(clip, 3600 * SAMPLE_RATE // len(clip) + 1)[: 3600 * SAMPLE_RATE]
    for n_batch in (32, 120):
        options = TranscribeOptions(
            language="en", beam_size=None, temperatures=(0.0,), batch_size=n_batch
        )
        took = seconds_of(ours, hour, options, n_runs)
        rows.append(
            Timed(f"an hour, batch {n_batch}", took * 1e3, None, f"{3600 / took:,.0f} x real time")
        )
    return rows


def seconds_of(
    each: Implementation, samples: np.ndarray, options: TranscribeOptions, n_runs: int
) -> float:
    """Median time of a transcription, warm."""
    times = []
    for _ in range(n_runs + 1):
        began = time.perf_counter()
        Model(each).transcribe(samples, options)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def table(name: str, device: str, has_weights: bool, rows: list[Timed]) -> Table:
    weights = "" if has_weights else ", random weights"
    shown = Table("", "full-max, ms", "cuda, ms", "ratio", "", title=f"{name}{weights}: {device}")
    for row in rows:
        theirs = "" if row.theirs is None else f"{row.theirs:.3f}"
        ratio = "" if row.theirs is None else f"1/{row.theirs / row.ours:.1f}"
        shown.add_row(row.what, f"{row.ours:.3f}", theirs, ratio, row.note)
    return shown


if __name__ == "__main__":
    main()
