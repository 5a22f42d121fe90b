"""Captions in a style: limits kept where they can be, breaks where a reader expects them."""

import itertools
import random
from dataclasses import replace

import pytest

from maxwhisper_cli.captions.breaking import CueBreaker
from maxwhisper_cli.captions.captions import CaptionOptions, Captions, make_captions
from maxwhisper_cli.captions.grammar import Break, grammar_of, may_break
from maxwhisper_cli.captions.limits import Costs, Limits
from maxwhisper_cli.captions.pieces import Piece, pieces_of
from maxwhisper_cli.captions.style import CaptionStyle, load_style
from maxwhisper_cli.transcription.segments import Segment, Transcript
from tests.support.transcripts import segment, segment_of, spoken, transcript


def captions_of(*segments: Segment, style: str = "netflix", language: str = "en") -> Captions:
    of = transcript(*segments, language=language)
    return make_captions(of, CaptionOptions(style=style))


def texts(captions: Captions) -> list[str]:
    return [cue.text for cue in captions.cues]


def test_text_that_fits_stays_on_one_line() -> None:
    assert texts(captions_of(spoken("This is a short sentence."))) == ["This is a short sentence."]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "We went to the old harbour and we looked at the ships", "harbour\nand we"),
        ("en", "In the year of the great flood they built a house of stone", "flood\nthey built"),
        ("es", "Compramos el pan en la plaza y volvimos a casa por la tarde", "plaza\ny volvimos"),
        ("fr", "Nous avons vu la maison blanche et nous sommes rentrés tard", "blanche\net nous"),
        ("de", "Wir haben das neue Haus gesehen und sind dann nach Hause", "gesehen\nund sind"),
    ],
)
def test_lines_end_before_conjunctions(language: str, text: str, expected: str) -> None:
    ((cue),) = captions_of(spoken(text, 0.3), language=language).cues
    assert expected in cue.text
    assert len(cue.lines) == 2


@pytest.mark.parametrize(
    ("language", "words", "expected"),
    [
        ("en", "the house", Break.BOUND),
        ("en", "great ships", Break.BOUND),
        ("en", "they built", Break.BOUND),
        ("en", "have seen", Break.BOUND),
        ("en", "don't know", Break.BOUND),
        ("en", "taught myself", Break.BOUND),
        ("en", "Abraham Lincoln", Break.BOUND),
        ("en", "Mr. Smith", Break.BOUND),
        ("en", "28.8 kilobits", Break.BOUND),
        ("en", "3, 4", Break.BOUND),
        ("en", "house of", Break.PHRASE),
        ("en", "ships sail", Break.PLAIN),
        ("en", "ships, sail", Break.CLAUSE),
        ("en", 'ships." Then', Break.SENTENCE),
        ("es", "la casa", Break.BOUND),
        ("es", "música nacional", Break.BOUND),
        ("es", "casa de", Break.PHRASE),
        ("fr", "nous allons", Break.BOUND),
        ("fr", "vin rouge", Break.BOUND),
        ("fr", "maison où", Break.PHRASE),
        ("de", "das Haus", Break.BOUND),
        ("de", "Haus Garten", Break.PLAIN),
        ("de", "Haus und", Break.PHRASE),
        ("it", "della casa", Break.BOUND),
        ("it", "casa che", Break.PHRASE),
        ("pt", "casa do", Break.PHRASE),
        ("pt", "uma casa", Break.BOUND),
        ("nl", "het huis", Break.PLAIN),
        ("nl", "Jan Jansen", Break.BOUND),
        ("it", "Maria Rossi", Break.BOUND),
        ("ja", "です。 はい", Break.SENTENCE),
    ],
)
def test_grammar(language: str, words: str, expected: Break) -> None:
    assert grammar_of(language).breaks(words.split()) == [Break.SENTENCE, expected]


@pytest.mark.parametrize(
    ("left", "right", "has_spaces", "expected"),
    [
        (" a", " b", True, True),
        (" a", "-b", True, False),
        ("日", "本", False, True),
        ("日", "。", False, False),
        ("「", "日", False, False),
        ("き", "っ", False, False),
        ("A", "B", False, False),
        ("ก", "\u0e34", False, False),
        ("เ", "ก", False, False),
    ],
)
def test_places_where_a_line_may_end(
    left: str, right: str, *, has_spaces: bool, expected: bool
) -> None:
    assert may_break(left, right, has_spaces=has_spaces) is expected


def test_limits_of_netflix_are_kept_in_ordinary_speech() -> None:
    text = (
        "The old harbour lies behind the town, and from there you can see the ships that leave "
        "for the islands. Every morning the fishermen come back with their boats, and people "
        "walk down to the quay to buy what they have caught. Later in the day it is quiet."
    )
    captions = captions_of(spoken(text, 0.36))
    assert captions.broken == {}
    assert captions.report == f"captions (netflix): {len(captions.cues)} cues, no rule broken"
    for cue in captions.cues:
        assert len(cue.lines) <= 2
        assert max(map(len, cue.lines)) <= 42
        assert 0.833 <= cue.end - cue.start <= 7
        assert len(cue.text) / (cue.end - cue.start) <= 20
    for one, following in itertools.pairwise(captions.cues):
        assert following.start - one.end >= 0.083 - 1e-6
    assert " ".join(texts(captions)).replace("\n", " ") == text


def test_words_joined_are_the_text_and_end_with_their_cue() -> None:
    captions = captions_of(spoken("one two three four five six seven eight nine ten " * 5))
    for cue in captions.cues:
        assert "".join(word.word for word in cue.words) == cue.text
        assert all(cue.start <= word.start <= word.end <= cue.end for word in cue.words)


def test_short_cues_stay_for_their_reader() -> None:
    (cue,) = captions_of(segment_of((" Yes.", 1.0, 1.1))).cues
    assert cue.start == 1.0
    assert cue.end == pytest.approx(1.833)


def test_small_gaps_are_closed_and_large_ones_kept() -> None:
    first = spoken("This is the first sentence of all.", 0.4)
    (near, _) = captions_of(first, spoken("And then the second one of them.", 0.4, 3.2)).cues
    assert near.end == pytest.approx(3.2 - 0.083)
    (far, _) = captions_of(first, spoken("And then the second one of them.", 0.4, 9.0)).cues
    assert far.end == pytest.approx(2.8)


def test_gaps_of_the_bbc_are_a_second_or_none() -> None:
    first = spoken("This is the first sentence of all.", 0.4)
    second = spoken("And then the second one of them.", 0.4, 3.6)
    (cue, following) = captions_of(first, second, style="bbc").cues
    assert cue.end == following.start


def test_a_long_pause_divides_cues() -> None:
    captions = captions_of(segment_of((" one", 0, 1), (" two", 3.5, 4.5)))
    assert texts(captions) == ["one", "two"]


def test_what_cannot_be_kept_is_reported() -> None:
    endless = "a" * 50
    captions = captions_of(segment_of((f" {endless}", 0, 1)), segment_of((" b", 20, 28)))
    assert captions.broken == {
        "with a line over 42 characters": 1,
        "faster than 20 characters a second": 1,
        "longer than 7 s": 1,
    }
    assert captions.report == (
        "captions (netflix): 2 cues, 1 with a line over 42 characters, "
        "1 faster than 20 characters a second, 1 longer than 7 s"
    )


def test_phrases_that_had_to_be_split_are_reported() -> None:
    narrow = replace(CaptionStyle("narrow"), limits=Limits(max_line_characters=5, max_lines=1))
    of = transcript(spoken("the house", 1.0), language="en")
    assert make_captions(of, CaptionOptions(style=narrow)).broken["splitting a phrase"] == 1


def test_speakers_are_laid_out_by_themselves() -> None:
    of = transcript(
        segment_of((" How", 0, 0.5), (" are", 0.5, 1.0), (" you?", 2.0, 2.5), speaker="left"),
        segment_of((" Well.", 1.0, 2.0), speaker="right"),
        language="en",
    )
    cues = make_captions(of, CaptionOptions(style="netflix")).cues
    assert [(cue.text, cue.speaker) for cue in cues] == [
        ("How are you?", "left"),
        ("Well.", "right"),
    ]


def test_languages_without_spaces_are_measured_in_characters() -> None:
    segments = spoken(
        "日 本 語 の 文 章 は 、 空 白 が な い 。 だ か ら 、 文 字 を 数 え る 。",
        0.3,
        separator="",
    )
    cues = captions_of(segments, language="ja").cues
    assert "".join(cue.text for cue in cues).replace("\n", "") == segments.text
    for line in (line for cue in cues for line in cue.lines):
        assert len(line) <= 13
        assert line[0] not in "、。"
    assert any(cue.text.endswith("。") for cue in cues)


def test_marks_without_a_width_do_not_count() -> None:
    points = "\u05b8" * 30
    (cue,) = captions_of(spoken(f"שלום{points} עולם יפה וטוב מאוד"), language="he").cues
    assert "\n" not in cue.text


def test_segments_without_words_keep_their_text() -> None:
    of = transcript(segment(0, 2, " two words", words=()), language="en")
    (cue,) = make_captions(of, CaptionOptions(style="netflix")).cues
    assert cue.text == "two words"
    assert cue.words[1].start == 1.0


def test_arrows_and_white_space_never_look_like_the_format() -> None:
    of = [segment_of((" a", 0, 1), (" --->", 1, 2), ("\n\n\tb ", 2, 3), (" --", 3, 4), (">", 4, 5))]
    (cue,) = captions_of(*of).cues
    assert cue.text == "a -> b ->"


def test_no_words_at_all() -> None:
    assert captions_of().cues == ()
    assert captions_of(segment(0, 1, " ", words=())).cues == ()
    assert captions_of().report == "captions (netflix): 0 cues, no rule broken"


def total_cost(breaker: CueBreaker, n_pieces: int, layout: tuple[tuple[int, ...], ...]) -> float:
    """Returns the cost of a layout given as the first pieces of each cue's lines."""
    stops = [*(lines[0] for lines in layout[1:]), n_pieces]
    return sum(breaker.cost_of(lines, stop) for lines, stop in zip(layout, stops, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_no_layout_is_cheaper(seed: int) -> None:
    """Dynamic programming finds a cheapest one of all layouts, tried one by one."""
    chance = random.Random(seed)
    vocabulary = ["the", "ship", "and", "of", "harbour,", "end.", "we", "I", "mountains"]
    limits = Limits(max_line_characters=14, max_characters_per_second=15)
    words = [chance.choice(vocabulary) for _ in range(9)]
    pieces = pieces_of([spoken(" ".join(words), chance.uniform(0.2, 0.6))], has_spaces=True)
    breaks = grammar_of("en").breaks([piece.text for piece in pieces])
    breaker = CueBreaker(pieces, breaks, limits, Costs(), 60.0)
    found = tuple(span.line_starts for span in breaker.spans())
    cheapest = min(total_cost(breaker, 9, layout) for layout in all_layouts(pieces, limits))
    assert total_cost(breaker, 9, found) == pytest.approx(cheapest)


def all_layouts(pieces: list[Piece], limits: Limits) -> list[tuple[tuple[int, ...], ...]]:
    """Returns all ways to break pieces into cues of at most two lines, two only where one is full.

    Each gap between pieces is inside a line, the end of a line or the end of a cue.
    """
    n_pieces = len(pieces)

    def fits(start: int, stop: int) -> bool:
        width = len(" ".join(piece.text for piece in pieces[start:stop]))
        return stop == start + 1 or width <= limits.max_line_characters

    found = []
    for gaps in itertools.product("- \n", repeat=n_pieces - 1):
        cues: list[list[int]] = [[0]]
        for index, gap in enumerate(gaps, start=1):
            if gap == "\n":
                cues.append([index])
            elif gap == " ":
                cues[-1].append(index)
        stops = [*(lines[0] for lines in cues[1:]), n_pieces]
        if all(
            len(lines) <= limits.max_lines
            and all(fits(*pair) for pair in itertools.pairwise((*lines, stop)))
            and (len(lines) == 1 or not fits(lines[0], stop))
            for lines, stop in zip(cues, stops, strict=True)
        ):
            found.append(tuple(map(tuple, cues)))
    return found


def test_styles_of_the_package_load() -> None:
    netflix, bbc = load_style("netflix"), load_style("BBC")
    assert netflix is not None
    assert bbc is not None
    assert netflix.limits_for("en").max_characters_per_second == 20
    assert netflix.limits_for("it").max_characters_per_second == 17
    assert netflix.limits_for("ja").max_line_characters == 13
    assert bbc.limits.max_words_per_minute == 180
    assert load_style("none") is None


def test_a_transcript_is_left_as_it_was() -> None:
    of: Transcript = transcript(spoken("one two three"))
    before = replace(of)
    make_captions(of, CaptionOptions(style="netflix"))
    assert of == before


def test_a_last_word_shorter_than_the_gap_ends_with_its_cue() -> None:
    first = segment_of((" One", 0, 1), (" two", 1, 2), (" three.", 2.97, 3.0))
    cue, _ = captions_of(first, spoken("Four and then five after them.", 0.4, 3.0)).cues
    assert cue.end == pytest.approx(2.917)
    assert cue.words[-1].start == cue.words[-1].end == cue.end


@pytest.mark.parametrize("style", ["netflix", "bbc"])
def test_real_speech_keeps_its_text_and_its_limits(speech: Transcript, style: str) -> None:
    captions = make_captions(speech, CaptionOptions(style=style))
    assert " ".join(" ".join(texts(captions)).split()) == " ".join(speech.text.split())
    assert captions.broken == {}
    assert len(captions.cues) >= 2


def test_words_keep_their_order_whatever_their_times() -> None:
    captions = captions_of(
        segment_of((" one", 5, 6), (" two", 3, 4), (" three", 3, 3), (" four", 1, 2))
    )
    assert " ".join(" ".join(texts(captions)).split()) == "one two three four"
    assert all(cue.start <= cue.end for cue in captions.cues)
