"""Policies: which words are final, on hypotheses written by hand."""

from maxwhisper_cli.listen.decoding import believable
from maxwhisper_cli.listen.policies import AlignAtt, Hypothesis, LocalAgreement
from maxwhisper_cli.transcription.words import TimedWord


def hypothesis(text: str, audio_seconds: float) -> Hypothesis:
    """Words of half a second each."""
    words = [
        TimedWord(f" {word}", [index], index / 2, index / 2 + 0.5, 1.0)
        for index, word in enumerate(text.split())
    ]
    return Hypothesis(words, audio_seconds)


def test_align_att_stops_before_the_end_of_the_audio() -> None:
    policy = AlignAtt(guard_seconds=0.3)
    assert policy.count_final(hypothesis("a b c d", 1.0)) == 1
    assert policy.count_final(hypothesis("a b c d", 1.3)) == 2
    assert policy.count_final(hypothesis("a b c d", 1.79)) == 2


def test_align_att_never_ends_with_the_last_word() -> None:
    policy = AlignAtt(guard_seconds=0.3)
    assert policy.count_final(hypothesis("a b", 30.0)) == 1
    assert policy.count_final(hypothesis("", 30.0)) == 0


def test_local_agreement_wants_two_hypotheses() -> None:
    policy = LocalAgreement()
    assert policy.count_final(hypothesis("ask not what", 2)) == 0
    assert policy.count_final(hypothesis("Ask not, where you", 2)) == 2
    assert policy.count_final(hypothesis("where he can", 3)) == 1  # behind the final words


def test_local_agreement_begins_anew() -> None:
    policy = LocalAgreement()
    policy.count_final(hypothesis("ask not", 1))
    policy.reset()
    assert policy.count_final(hypothesis("ask not", 1)) == 0


def test_words_faster_than_speech_are_left_out() -> None:
    """A sentence that is said once more shares the time of the words that are new."""
    spoken = [*hypothesis("the acoustic corpus", 2).words]
    again = [TimedWord(f" {i}", [i], 1.5 + i / 20, 1.55 + i / 20, 1.0) for i in range(9)]
    assert believable([*spoken, *again]) == spoken
    assert believable([*spoken, *again[:4]]) == [*spoken, *again[:4]]
    assert believable([]) == []
