"""Display of files while they are transcribed: segments in order, and one live line for many."""

from collections.abc import Callable
from dataclasses import dataclass, field

from maxwhisper_cli.activity import Activity, Pace, clock
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.writers.speakers import name_speaker
from maxwhisper_cli.writers.times import format_timestamp


@dataclass(frozen=True, slots=True)
class Display:
    """Terminal and settings of the display during transcription."""

    terminal: Terminal
    shows_segments: bool
    shows_bar_when_piped: bool

    def segment(self, segment: Segment) -> None:
        """Shows a segment, if segments are shown and it has text."""
        if self.shows_segments and segment.text:
            times = f"{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}"
            self.terminal.timed_line(times, name_speaker(segment.text.strip(), segment.speaker))


@dataclass(slots=True)
class Overview:
    """Progress of the files of a batch, for one live line."""

    n_files: int
    pace: Pace = field(default_factory=Pace)
    progress: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Seconds done and in all of each opened file, by its index."""
    finished: set[int] = field(default_factory=set)

    def show(self, activity: Activity) -> None:
        """Shows files done, seconds transcribed and speed."""
        unfinished = (i for i in self.progress if i not in self.finished)
        n_done = len(self.finished) + sum(
            self.progress[i][0] / (self.progress[i][1] or 1) for i in unfinished
        )
        seconds = sum(done for done, _ in self.progress.values())
        speed = seconds / max(self.pace.seconds, 1e-9)
        detail = f"{len(self.finished)} done  {clock(seconds)}  {speed:.1f}x"
        activity.show(f"{self.n_files} files", n_done, self.n_files, detail)


@dataclass(slots=True)
class OrderedSegments:
    """Segments of several files, shown in the order of input as early as that allows."""

    show: Callable[[Segment], None]
    index: int = 0
    """Index of the file whose segments are shown at once."""
    waiting: dict[int, list[Segment]] = field(default_factory=dict)
    """Segments of later files."""

    def add(self, index: int, segment: Segment) -> None:
        """Shows a segment of the current file; keeps one of a later file."""
        if index == self.index:
            self.show(segment)
        else:
            self.waiting.setdefault(index, []).append(segment)

    def go_to(self, index: int) -> None:
        """Makes a file the current one, and shows its segments so far."""
        self.index = index
        for segment in self.waiting.pop(index, ()):
            self.show(segment)
