"""Display of files that are transcribed side by side: one live line, and segments in order."""

from collections.abc import Callable
from dataclasses import dataclass, field

from maxwhisper_cli.activity import Activity, Pace, clock
from maxwhisper_cli.transcription.segments import Segment


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
