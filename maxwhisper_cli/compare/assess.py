"""Evaluation of the workers' measurements: medians, ratios and error rates.

Nothing is measured or shown here.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from implementations import registry
from maxwhisper_cli.compare.accuracy import Accuracy, ErrorRate, accuracy, first_difference
from maxwhisper_cli.compare.messages import Loaded, Measurement
from maxwhisper_cli.compare.results import (
    Figures,
    Recording,
    RecordingResult,
    Row,
)
from maxwhisper_cli.compare.runner import Outcome


def assess(outcomes: Sequence[Outcome], recordings: Sequence[Recording]) -> tuple[Row, ...]:
    """Returns one row for each outcome, in their order."""
    references = (o for o in outcomes if o.implementation.partition(":")[0] == registry.REFERENCE)
    cpu = next(references, None)
    return tuple(_row(outcome, cpu, recordings) for outcome in outcomes)


def _row(outcome: Outcome, cpu: Outcome | None, recordings: Sequence[Recording]) -> Row:
    if outcome.loaded is None or outcome.finished is None:
        return Row(outcome.implementation, outcome.status, outcome.reason)
    baselines: Sequence[Measurement | None] = [None] * len(recordings)
    if cpu is not None and cpu.measurements:
        baselines = cpu.measurements
    results = tuple(
        _result(measurement, baseline, recording, outcome.loaded)
        for measurement, baseline, recording in zip(
            outcome.measurements, baselines, recordings, strict=True
        )
    )
    return Row(
        implementation=outcome.implementation,
        status=outcome.status,
        reason=None,
        device=outcome.loaded.device,
        dtype=outcome.loaded.dtype,
        load_seconds=outcome.loaded.load_seconds,
        compile_seconds=outcome.loaded.compile_seconds if outcome.loaded.runs_compiled else None,
        peak_memory_mib=outcome.finished.peak_memory_mib,
        gpu_memory_mib=outcome.finished.gpu_memory_mib,
        warnings=outcome.loaded.warnings,
        total=_total(results, baselines),
        recordings=results,
    )


def _result(
    measured: Measurement, baseline: Measurement | None, recording: Recording, loaded: Loaded
) -> RecordingResult:
    against_reference = Accuracy(None, None)
    if recording.reference is not None:
        against_reference = accuracy(recording.reference, measured.text, measured.language)
    figures = _figures([measured], [baseline])
    if baseline is None:
        figures = replace(figures, wer=against_reference.wer, cer=against_reference.cer)
        return RecordingResult(measured, figures, None)
    difference = first_difference(baseline.tokens, measured.tokens)
    figures = replace(
        figures,
        wer=against_reference.wer,
        cer=against_reference.cer,
        wer_against_cpu=accuracy(baseline.text, measured.text, baseline.language).wer,
        is_like_cpu=difference is None,
    )
    description = None
    if difference is not None:
        description = _describe_difference(difference, baseline, measured, loaded)
    return RecordingResult(measured, figures, description)


def _total(results: Sequence[RecordingResult], baselines: Sequence[Measurement | None]) -> Figures:
    """Returns the figures over all recordings; error rates weigh each word the same."""
    total = _figures([result.measurement for result in results], baselines)
    parts = [result.figures for result in results]
    return replace(
        total,
        wer=ErrorRate.over(part.wer for part in parts),
        cer=ErrorRate.over(part.cer for part in parts),
        wer_against_cpu=ErrorRate.over(part.wer_against_cpu for part in parts),
        is_like_cpu=(
            None
            if any(part.is_like_cpu is None for part in parts)
            else all(part.is_like_cpu for part in parts)
        ),
    )


def _figures(measured: Sequence[Measurement], baselines: Sequence[Measurement | None]) -> Figures:
    """Returns the times over some recordings; run i of all of them is one sample."""
    runs = _runs(measured)
    warm, audio_seconds = statistics.median(runs), sum(m.audio_seconds for m in measured)
    present = [baseline for baseline in baselines if baseline is not None]
    n_windows = sum(m.n_windows for m in measured)
    n_passes = sum(m.n_passes for m in measured)
    encoder_ms = sum(m.encoder_ms_per_window * m.n_windows for m in measured)
    decoder_ms = sum(m.ms_per_token * m.n_passes for m in measured)
    return Figures(
        audio_seconds=audio_seconds,
        first_seconds=sum(m.first_seconds for m in measured),
        warm_seconds=warm,
        fastest_seconds=min(runs),
        slowest_seconds=max(runs),
        realtime_factor=audio_seconds / warm,
        speedup=statistics.median(_runs(present)) / warm if present else None,
        encoder_ms_per_window=encoder_ms / max(n_windows, 1),
        ms_per_token=decoder_ms / max(n_passes, 1),
        tokens_per_second=1e3 * n_passes / decoder_ms if decoder_ms else 0.0,
        n_characters=sum(len(m.text) for m in measured),
        wer=None,
        cer=None,
        wer_against_cpu=None,
        is_like_cpu=None,
    )


def _runs(measured: Sequence[Measurement]) -> list[float]:
    return [sum(seconds) for seconds in zip(*(m.run_seconds for m in measured), strict=True)]


def _describe_difference(
    index: int, baseline: Measurement, measured: Measurement, loaded: Loaded
) -> str:
    """Returns `token 12 of 30: ' can' instead of ' could'`."""
    from maxwhisper_cli.transcription.tokenizer import get_tokenizer

    tokenizer = get_tokenizer(loaded.is_multilingual, num_languages=loaded.n_languages)

    def word_at(tokens: Sequence[int]) -> str:
        token = tokens[index : index + 1]
        return repr(tokenizer.decode_with_timestamps(token)) if token else "the end"

    return (
        f"token {index + 1} of {len(baseline.tokens)}: "
        f"{word_at(measured.tokens)} instead of {word_at(baseline.tokens)}"
    )
