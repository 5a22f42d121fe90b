"""Estimates of what GPUs should reach on which nothing was measured; prints a table in Markdown.

    python tests/benchmarks/gpu_estimates.py

Two formulas that fit what was measured on an H100 (`make bench-gpu`, README) are applied to other
GPUs by their published rates:

- encoder, a window of a batch of 32: operations / (share of the peak * peak). The Hopper kernels
  reach 0.39 of an H100's peak with tiny.en; the portable ones may take twice as long there. So a
  GPU that runs these gets a range, from 0.39 to 0.20.
- step of one window: kernels * gap + bytes / bandwidth. The gap between kernels is 3.5 us, and
  4.5 us where programmatic dependent launch is missing (before 9.0), which is a guess.

161 s of speech: 500 steps and 6 windows, encoded one by one, at the lower share of the peak.
"""

from dataclasses import dataclass

GAP_US, GAP_WITHOUT_DEPENDENT_LAUNCH_US = 3.5, 4.5
BEST_SHARE, PORTABLE_SHARE = 0.39, 0.20
N_STEPS, N_WINDOWS = 500, 6


@dataclass(frozen=True, slots=True)
class Gpu:
    """Published rates of a GPU (source: NVIDIA's data sheets and architecture papers)."""

    name: str
    teraflops: float
    """Dense products in float16 with sums in float32."""
    gb_per_second: float
    has_dependent_launch: bool = False

    @property
    def gap_us(self) -> float:
        """Microseconds from the end of one kernel to the work of the next."""
        return GAP_US if self.has_dependent_launch else GAP_WITHOUT_DEPENDENT_LAUNCH_US


@dataclass(frozen=True, slots=True)
class Model:
    """Work of a model, in float16."""

    name: str
    encoder_gigaflop: float
    """For a window of 30 s, attention included."""
    step_megabytes: float
    """Read by a step of one window: decoder layers, embedding, keys and values of the audio."""
    n_kernels: int
    """Kernels of a step."""


GPUS = (
    Gpu("H100 SXM", 989, 3350, has_dependent_launch=True),
    Gpu("A100 80 GB", 312, 2039),
    Gpu("RTX 4090", 165, 1008),
    Gpu("RTX 3090", 71, 936),
    Gpu("L4", 121, 300),
)
MODELS = (
    Model("tiny.en", 36.9, 65.5, 41),
    Model("turbo", 2274, 348, 41),
    Model("large-v3", 2274, 1847, 320),
)


def encoder_ms(gpu: Gpu, model: Model, share: float) -> float:
    """Returns milliseconds of a window of a batch of 32 at a share of the peak."""
    return model.encoder_gigaflop / (gpu.teraflops * share)


def step_ms(gpu: Gpu, model: Model) -> float:
    """Returns milliseconds of a step of one window."""
    return model.n_kernels * gpu.gap_us / 1000 + model.step_megabytes / gpu.gb_per_second


def speech_seconds(gpu: Gpu, model: Model) -> float:
    """Returns seconds for 161 s of speech, greedy, windows one after the other."""
    share = BEST_SHARE if gpu.has_dependent_launch else PORTABLE_SHARE
    return (N_STEPS * step_ms(gpu, model) + N_WINDOWS * encoder_ms(gpu, model, share)) / 1000


def table() -> str:
    """Returns the estimates as a table."""
    columns = [f"{model.name}: encoder, step, 161 s" for model in MODELS]
    lines = [f"| GPU | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    lines += [
        f"| {gpu.name} | {' | '.join(_cell(gpu, model) for model in MODELS)} |" for gpu in GPUS
    ]
    return "\n".join(lines)


def _cell(gpu: Gpu, model: Model) -> str:
    best, slow = (_short(encoder_ms(gpu, model, s)) for s in (BEST_SHARE, PORTABLE_SHARE))
    encoder = best if gpu.has_dependent_launch else f"{best} to {slow}"
    return f"{encoder} ms, {_short(step_ms(gpu, model))} ms, {speech_seconds(gpu, model):.2g} s"


def _short(number: float) -> str:
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 10 else f"{number:.0f}"


if __name__ == "__main__":
    print(table())  # noqa: T201  (the result)
