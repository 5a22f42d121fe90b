"""Text of a stream while it is spoken: hypotheses, the words that are final, the window of audio.

What comes in is the end of the audio so far; what goes out are events. A word that is final is the
prefix of every later hypothesis, and so never changes. The window goes on over short pauses, and
moves forward behind final words, whose text then prompts what follows.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from implementations.implementation import Implementation
from maxwhisper_cli.listen.decoding import Audio, LiveDecoder, LiveNeed
from maxwhisper_cli.listen.events import Event, FinalWords, Partial, UtteranceEnded
from maxwhisper_cli.listen.policies import Hypothesis, Policy
from maxwhisper_cli.listen.sound import LiveSpectrogram, SampleBuffer
from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, SAMPLE_RATE
from maxwhisper_cli.transcription.segments import Word
from maxwhisper_cli.transcription.words import TimedWord
from weights.dims import HOP_LENGTH

_MAX_PAUSE_SECONDS: Final = 2.0
"""Longest pause between utterances over which the window goes on."""
_KEPT_SECONDS: Final = 1.5
"""Audio before the end that stays in the window when it moves."""
_FULL_SHARE: Final = 0.6
"""Share of the window that audio fills before the window moves."""
_SENTENCE_ENDS: Final = ".?!。？！…"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class _FinalWord:
    """A final word whose audio is in the window."""

    word: Word
    tokens: tuple[int, ...]


class LiveText:
    """Text of one stream, utterance after utterance."""

    def __init__(
        self,
        implementation: Implementation,
        decoder: LiveDecoder,
        policy: Policy,
        samples: SampleBuffer,
    ) -> None:
        dims = implementation.dims
        self._decoder = decoder
        self._policy = policy
        self._n_frames = 2 * dims.n_audio_ctx
        self._max_samples = self._n_frames * HOP_LENGTH
        self._spectrogram = LiveSpectrogram(samples, dims.n_mels)
        self._words: list[_FinalWord] = []
        self._last_end = 0.0
        """End of the last final word, in seconds of the stream."""
        self._start = 0
        self._text = ""
        self._partial = ""
        self.is_speech = False
        """True within an utterance."""
        self.decoded_until = 0
        """Place in samples up to which the audio was decoded."""

    @property
    def longest_end(self) -> int:
        """Last place, in samples, up to which the window takes audio."""
        return self._spectrogram.start + self._max_samples

    def begin(self, at: int) -> None:
        """Begins an utterance at a place in samples."""
        pause = (at - self.decoded_until) / SAMPLE_RATE
        if pause > _MAX_PAUSE_SECONDS or not self._words:
            self._drop_words(len(self._words), at)
            self.decoded_until = at
        self._start, self._text, self._partial = at, "", ""
        self._last_end = max(self._last_end, at / SAMPLE_RATE)
        self.is_speech = True
        self._policy.reset()

    def forget_before(self, at: int) -> None:
        """Forgets audio before a place in a pause, once the window does not go on over it."""
        if at > self.decoded_until:
            self._drop_words(len(self._words), at)

    def drop(self, at: int) -> None:
        """Drops the utterance, and all audio before a place."""
        self.is_speech = False
        self._drop_words(len(self._words), at)

    def update(self, end: int, *, is_last: bool) -> Generator[LiveNeed, None, list[Event]]:
        """Decodes the audio up to a place.

        Args:
            end: Place in samples, at most `longest_end`.
            is_last: True if the utterance ends there; then all words are final.

        Returns:
            Events in order.
        """
        seconds = self._seconds_of(end)
        audio = Audio(
            fill=partial(self._spectrogram.fill, end),
            seconds=seconds,
            prefix=tuple(token for word in self._words for token in word.tokens),
            n_new_seconds=max(0.0, end / SAMPLE_RATE - self._last_end),
            is_last=is_last,
        )
        words = yield from self._decoder.hypothesis(audio)
        self.decoded_until = end
        if words is None and end < self.longest_end:
            return []
        events = self._take(words or [], seconds, is_last=is_last)
        self._move(end)
        if is_last:
            self.is_speech = False
            times = self._start / SAMPLE_RATE, end / SAMPLE_RATE
            events.append(UtteranceEnded(*times, self._text.strip()))
        return events

    def _take(self, words: Sequence[TimedWord], seconds: float, *, is_last: bool) -> list[Event]:
        """Makes words final, and returns the events of a hypothesis."""
        n_final = len(words) if is_last else self._policy.count_final(Hypothesis(words, seconds))
        offset = self._spectrogram.start / SAMPLE_RATE
        finals = [self._in_stream(word, offset) for word in words[:n_final]]
        events: list[Event] = []
        if finals:
            self._words += [
                _FinalWord(word, tuple(each.tokens))
                for word, each in zip(finals, words, strict=False)
            ]
            events.append(FinalWords(tuple(finals)))
            self._text += events[0].text if isinstance(events[0], FinalWords) else ""
        if not is_last:
            events += self._show_partial(words[n_final:], offset, is_new=bool(finals))
        return events

    def _show_partial(
        self, words: Sequence[TimedWord], offset: float, *, is_new: bool
    ) -> list[Event]:
        text = "".join(word.word for word in words)
        if text == self._partial and not (is_new and text):
            return []
        self._partial = text
        start = end = self._last_end
        if words:
            start = max(start, offset + words[0].start)
            end = max(start, offset + words[-1].end)
        return [Partial(round(start, 2), round(end, 2), text)]

    def _in_stream(self, word: TimedWord, offset: float) -> Word:
        """Returns a word in seconds of the stream, not before the word before it."""
        start = max(self._last_end, offset + word.start)
        self._last_end = max(start, offset + word.end)
        return Word(word.word, round(start, 2), round(self._last_end, 2), word.probability)

    def _move(self, end: int) -> None:
        """Moves the window behind final words once it is rather full."""
        n_samples = end - self._spectrogram.start
        if n_samples < _FULL_SHARE * self._max_samples:
            return
        cut, n_words = self._best_cut(end)
        if n_words:
            self._drop_words(n_words, cut)
        if end >= self.longest_end:  # little is final: half of the audio is dropped
            cut = end - self._max_samples // 2
            self._drop_words(sum(word.word.end <= cut / SAMPLE_RATE for word in self._words), cut)
            self._policy.reset()

    def _drop_words(self, n_words: int, cut: int) -> None:
        """Lets the window begin at a place, behind so many words, which become a prompt."""
        dropped, self._words = self._words[:n_words], self._words[n_words:]
        self._decoder.add_context([token for word in dropped for token in word.tokens])
        self._spectrogram.trim(cut)

    def _best_cut(self, end: int) -> tuple[int, int]:
        """Returns the place to begin at, in samples, and the number of words before it.

        It is behind a sentence if there is one, else in the longest pause between final words.
        """
        latest = end / SAMPLE_RATE - _KEPT_SECONDS
        best: tuple[bool, float] | None = None
        cut, n_words = 0.0, 0
        for index, each in enumerate(self._words):
            is_last = index + 1 == len(self._words)
            following = each.word.end if is_last else self._words[index + 1].word.start
            if each.word.end > latest:
                break
            is_sentence = each.word.word.strip()[-1:] in _SENTENCE_ENDS
            rank = is_sentence, round(following - each.word.end, 2)
            if best is None or rank >= best:
                best, cut, n_words = rank, (each.word.end + following) / 2, index + 1
        return int(cut * SAMPLE_RATE), n_words

    def _seconds_of(self, end: int) -> float:
        n_frames = (end - self._spectrogram.start) // HOP_LENGTH
        return n_frames / FRAMES_PER_SECOND
