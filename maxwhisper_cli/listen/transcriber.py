"""Live transcription of one stream: samples in, events out; independent of any input or output.

`feed` does all of it for a single stream. Several streams share a model by `drive.LiveBatch`, for
which the same is split in two: `add` stores samples, `steps` yields what the model has to do.
"""

from collections import deque
from collections.abc import Generator, Sequence
from typing import Final

import numpy as np

from implementations.implementation import Implementation
from maxwhisper_cli.listen.decoding import LiveDecoder, LiveNeed
from maxwhisper_cli.listen.drive import run_alone
from maxwhisper_cli.listen.events import Event, SpeechStarted
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.listen.policies import AlignAtt, LocalAgreement, Policy
from maxwhisper_cli.listen.sound import SampleBuffer
from maxwhisper_cli.listen.text import LiveText
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.utterances import Edge, UtteranceFinder, add_together
from maxwhisper_cli.transcription.mel import SAMPLE_RATE, Float32

_MEMORY_SAMPLES: Final = 2 * SAMPLE_RATE
"""Samples that are stored while nobody speaks: an utterance begins a little before it shows."""
_TURBO_LAYERS: Final = (32, 4)


class LiveTranscriber:
    """Live transcription of one stream of mono samples at 16 kHz."""

    def __init__(
        self,
        implementation: Implementation,
        options: ListenOptions,
        network: VoiceNetwork | None = None,
    ) -> None:
        """Prepares a stream; nothing is decoded yet.

        Args:
            implementation: The model; may be shared.
            options: Options of the transcription.
            network: Network of voice activity, unless `options.vad` is None.

        Raises:
            OptionsError: An option does not fit the model.
        """
        self._implementation = implementation
        self._decoder = LiveDecoder(implementation, options)
        self._samples = SampleBuffer()
        policy = make_policy(implementation, options)
        self._text = LiveText(implementation, self._decoder, policy, self._samples)
        self.finder: UtteranceFinder | None = None
        """Finder of utterances; None if the caller ends them."""
        if options.vad is not None:
            assert network is not None, "voice activity needs its network"
            self.finder = UtteranceFinder(network, options.vad)
        self._edges: deque[Edge] = deque()
        self._min_chunk = round(options.min_chunk_seconds * SAMPLE_RATE)

    @property
    def seconds(self) -> float:
        """Length of the audio so far."""
        return self._samples.end / SAMPLE_RATE

    @property
    def language(self) -> str | None:
        """Code of the language; None before it was detected."""
        return self._decoder.language

    @property
    def is_due(self) -> bool:
        """True if `steps` has something to do."""
        return bool(self._edges) or self._is_update_due

    @property
    def _is_update_due(self) -> bool:
        n_new = self._samples.end - self._text.decoded_until
        return self._text.is_speech and n_new >= self._min_chunk

    def feed(self, block: Float32) -> list[Event]:
        """Adds samples, and returns what they change."""
        self.add(block)
        return self._run()

    def finish(self) -> list[Event]:
        """Ends an utterance that lasts, and returns its last words; more may be fed."""
        self.end_utterance()
        return self._run()

    def add(self, block: Float32) -> None:
        """Adds samples, and decodes nothing."""
        add_to_streams([self], [block])

    def store(self, samples: Float32, edges: Sequence[Edge]) -> None:
        """Adds finite samples with the edges that the finder has found by them."""
        self._edges.extend(edges)
        if self.finder is None and len(samples) and not self._text.is_speech and not self._edges:
            self._edges.append(Edge(self._samples.end, is_start=True))
        self._samples.append(samples)
        if not self._text.is_speech and not self._edges:
            self._text.forget_before(self._samples.end - _MEMORY_SAMPLES)

    def end_utterance(self) -> None:
        """Lets the utterance, if there is one, end with the audio so far."""
        if self.finder is not None:
            self._edges.extend(self.finder.end())
        elif self._text.is_speech or self._edges:
            self._edges.append(Edge(self._samples.end, is_start=False))

    def drop_utterance(self) -> None:
        """Drops an utterance that lasts, and audio that was not decoded."""
        if self.finder is not None:
            self.finder.end()
        self._edges.clear()
        self._text.drop(self._samples.end)

    def steps(self) -> Generator[LiveNeed, None, list[Event]]:
        """Does what is due; yields needs, and returns the events once they are answered."""
        events: list[Event] = []
        while self._edges:
            edge = self._edges[0]
            if edge.is_start:
                self._text.begin(edge.at)
                events.append(SpeechStarted(edge.at / SAMPLE_RATE))
            elif self._text.is_speech:
                while edge.at > (longest := self._text.longest_end):
                    events += yield from self._text.update(longest, is_last=False)
                events += yield from self._text.update(edge.at, is_last=True)
            self._edges.popleft()
        if self._is_update_due:
            end = min(self._samples.end, self._text.longest_end)
            events += yield from self._text.update(end, is_last=False)
        return events

    def _run(self) -> list[Event]:
        events: list[Event] = []
        while self.is_due:
            events += run_alone(self._implementation, self.steps())
        return events


def add_to_streams(streams: Sequence[LiveTranscriber], blocks: Sequence[Float32]) -> None:
    """Adds samples to streams of one network, whose voice activity is computed together."""
    finite = [
        np.nan_to_num(np.asarray(block, np.float32), posinf=0.0, neginf=0.0) for block in blocks
    ]
    found = [index for index, live in enumerate(streams) if live.finder is not None]
    finders = [finder for live in streams if (finder := live.finder) is not None]
    edges = dict(zip(found, add_together(finders, [finite[index] for index in found]), strict=True))
    for index, (live, samples) in enumerate(zip(streams, finite, strict=True)):
        live.store(samples, edges.get(index, []))


def make_policy(implementation: Implementation, options: ListenOptions) -> Policy:
    """Returns the policy of the options; `auto` by the model's size."""
    dims = implementation.dims
    name = options.policy
    if name == "auto":
        is_turbo = (dims.n_audio_layer, dims.n_text_layer) == _TURBO_LAYERS
        name = "local-agreement" if is_turbo else "align-att"
    return LocalAgreement() if name == "local-agreement" else AlignAtt(options.guard_seconds)
