"""Lines of a live transcript: cut at sentences, pauses and lengths, without a word lost."""

from maxwhisper_cli.listen.events import FinalWords, Partial, UtteranceEnded
from maxwhisper_cli.listen.lines import LineBuilder
from maxwhisper_cli.transcription.segments import Word


def words(text: str, start: float = 0.0) -> FinalWords:
    """Words of half a second each."""
    return FinalWords(
        tuple(
            Word(f" {word}", start + index / 2, start + index / 2 + 0.5, 1.0)
            for index, word in enumerate(text.split())
        )
    )


def test_a_sentence_of_two_seconds_is_a_line() -> None:
    lines = LineBuilder()
    done = lines.take(words("No. That is one line. And this"))
    assert [segment.text for segment in done] == [" No. That is one line."]
    assert lines.begun == "And this"
    assert (done[0].start, done[0].end) == (0.0, 2.5)


def test_a_pause_ends_a_line() -> None:
    lines = LineBuilder()
    assert lines.take(words("no end")) == []
    assert [each.text for each in lines.take(UtteranceEnded(0, 1, "no end"))] == [" no end"]
    assert lines.take(UtteranceEnded(1, 2, "")) == []


def test_long_text_is_cut() -> None:
    lines = LineBuilder()
    text = "so " * 50
    done = lines.take(words(text)) + lines.end()
    assert len(done) == 3
    assert "".join(segment.text for segment in done).split() == text.split()
    assert [segment.id for segment in done] == [0, 1, 2]


def test_partial_text_is_in_no_line() -> None:
    lines = LineBuilder()
    assert lines.take(Partial(0, 1, " perhaps")) == []
    assert lines.begun == ""
    assert lines.end() == []
