"""Transcription of units by one model, and the record of each recording.

A recording that fails is tried a second time; then its record has the error, and the rest goes on.
"""

import dataclasses
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from maxwhisper_cli.audio.excerpt import Excerpt
from maxwhisper_cli.cluster.plan import Entry, Unit
from maxwhisper_cli.cluster.reading import ReadElsewhere, opened_elsewhere
from maxwhisper_cli.cluster.unit_feed import UnitFeed, UnitRecords, entries_of
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.recording import RecordingRequest
from maxwhisper_cli.system_errors import SYSTEM_ERRORS, refusal
from maxwhisper_cli.throughput.rows import count_rows
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.stopwatch import STOPPED, RunningStopwatch, Stopwatch
from maxwhisper_cli.version import program_version
from maxwhisper_cli.writers.json import json_value
from maxwhisper_cli.writers.jsonl import with_own_fields
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from implementations.implementation import Implementation
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.devices.messages import Facts
    from maxwhisper_cli.devices.pool import DevicePool
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.throughput.several import Origin

_NOT_KEPT: Final = ("tokens", "seek")
"""Fields of segments that are left out: they are large, and the text has them."""


@dataclass(frozen=True, slots=True)
class FinishedUnit:
    """A unit and its records, in the order of the manifest."""

    unit: Unit
    records: list[dict[str, Any]]
    wall_seconds: float
    """Seconds since the unit before it ended."""
    reading_seconds: float | None = None
    """Seconds of these in which computing waited for reading; None where nothing measures it."""

    @property
    def n_failed(self) -> int:
        """Recordings that failed."""
        return sum("error" in record for record in self.records)

    @property
    def seconds(self) -> float:
        """Seconds of audio that were transcribed."""
        return float(sum(record.get("seconds", 0.0) for record in self.records))


@dataclass(slots=True)
class UnitWorker:
    """Transcribes units with one model."""

    model: "Model | DevicePool"
    options: TranscribeOptions
    reading: "ReadingOptions"
    remote: Remote
    keep_going: Callable[[], bool] = lambda: True
    """Called before each recording; False ends after those under way."""
    tries_again: bool = True
    """False where another worker tries a second time."""
    stopwatch: Stopwatch = STOPPED
    """Stopwatch of the model."""
    read_elsewhere: ReadElsewhere | None = None
    """Reads recordings on other machines; None reads them here."""
    _version: str = field(default_factory=program_version)

    @property
    def place(self) -> str:
        """Implementation, device and machine, for the user."""
        implementation = self.model.implementation
        return f"{implementation.name} on {implementation.device} of {platform.node()}"

    @property
    def n_rows(self) -> int:
        """Recordings that are worked on at a time."""
        return count_rows(self.model.implementation, self.options)

    def transcribe(self, units: Sequence[Unit]) -> Iterator[FinishedUnit]:
        """Yields units as they end; rows stay full across units, and files are read ahead."""
        owners = list(entries_of(units))
        sources = [self.request(entry) for _, entry in owners]
        return self._transcribe(sources, owners, lambda: None)

    def transcribe_feed(self, feed: UnitFeed[RecordingRequest]) -> Iterator[FinishedUnit]:
        """Yields units that come one by one, as they end."""
        return self._transcribe(feed, feed.owners, feed.count_done)

    def _transcribe(
        self,
        sources: "list[RecordingRequest] | UnitFeed[RecordingRequest]",
        owners: Sequence[tuple[Unit, Entry]],
        on_done: Callable[[], None],
    ) -> Iterator[FinishedUnit]:
        records: UnitRecords[dict[str, Any]] = UnitRecords()
        began, read_before = time.perf_counter(), self._reading_seconds()
        running = self.model.transcribe_several(
            cast("Any", sources),  # several devices take no feed, and are given none
            self.options,
            keep_going=self.keep_going,
            **self.reading,
        )
        for finished in running:
            unit, entry = owners[finished.index]
            outcome = finished.transcript or finished.error
            if outcome is None or (self.tries_again and finished.error is not None):
                outcome = self._again(entry)
            origin = finished.origin or self.model.implementation
            of_unit = records.add(unit, entry, self._record(entry, outcome, origin))
            on_done()
            if of_unit is not None:
                ended, read = time.perf_counter(), self._reading_seconds()
                waited = None if read is None or read_before is None else read - read_before
                yield FinishedUnit(unit, of_unit, ended - began, waited)
                began, read_before = ended, read

    def _reading_seconds(self) -> float | None:
        if not isinstance(self.stopwatch, RunningStopwatch):
            return None
        spent = self.stopwatch.spent.get("audio")
        return spent.seconds if spent is not None else 0.0

    def _again(self, entry: Entry) -> Transcript | MaxWhisperError:
        """Returns the transcript of a second attempt, or its error."""
        try:
            return self.model.transcribe(self.request(entry), self.options, **self.reading)
        except MaxWhisperError as error:
            return error
        except SYSTEM_ERRORS as error:
            return refusal(error, entry.input.source)

    def request(self, entry: Entry) -> RecordingRequest:
        """Returns what is read of a recording."""
        each = entry.input
        excerpt = Excerpt(each.start_seconds, each.duration_seconds) if each.is_excerpt else None
        language = each.language if self.model.implementation.dims.is_multilingual else None
        place = each.source, self.remote.opener(each)
        here = RecordingRequest(*place, excerpt, language, rounds_samples=True)
        if self.read_elsewhere is None or self.reading.get("channel") == "split":
            return here
        opener = partial(opened_elsewhere, here, self.reading, self.read_elsewhere)
        return RecordingRequest(each.source, opener, None, language, rounds_samples=True)

    def _record(
        self,
        entry: Entry,
        outcome: Transcript | MaxWhisperError,
        implementation: "Implementation | Facts | Origin",
    ) -> dict[str, Any]:
        own = {name: value for name, value in entry.input.fields.items() if name != "id"}
        origin = {
            "model": self.model.name,
            "implementation": implementation.name,
            "dtype": implementation.dtype,
            "version": self._version,
        }
        if isinstance(outcome, MaxWhisperError):
            return {"id": entry.id, **with_own_fields(own, {"error": str(outcome), **origin})}
        content: dict[str, Any] = {
            "text": outcome.text,
            "segments": [
                {
                    name: json_value(value)
                    for name, value in dataclasses.asdict(segment).items()
                    if value is not None and name not in _NOT_KEPT
                }
                for segment in outcome.shifted(entry.input.start_seconds).segments
            ],
            "language": outcome.language,
            "seconds": round(outcome.duration_seconds, 3),
            **origin,
        }
        if outcome.warnings:
            content["warnings"] = list(outcome.warnings)
        return {"id": entry.id, **with_own_fields(own, content)}
