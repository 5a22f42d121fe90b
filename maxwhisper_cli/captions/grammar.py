"""Places where a text may be broken, and how good each is, by word lists of the language.

There is no parser: lists of function words, punctuation and capitals decide. The lists are data in
`languages/`; a language without a list has punctuation alone.
"""

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from maxwhisper_cli.captions import data

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages whose words have no spaces between them; as in openai-whisper's tokenizer."""
_SENTENCE_ENDS = frozenset(".!?…。！？．؟۔।॥።")  # noqa: RUF001
_CLAUSE_ENDS = frozenset(",;:–—，、；：،؛፣")  # noqa: RUF001
_CLOSING = frozenset("\"'’”»›)]}）］｝」』】〉》〕")  # noqa: RUF001
# Thai's vowels that stand before their consonant are never left alone either.
_OPENING = frozenset("\"'‘“«‹([{（［｛「『【〈《〔¿¡เแโใไ")  # noqa: RUF001
_CLINGING = frozenset("ー々ゝゞ～・%％ぁぃぅぇぉっゃゅょァィゥェォッャュョ")  # noqa: RUF001
"""Signs that belong to the one before them."""
_NO_LINE_START = _SENTENCE_ENDS | _CLAUSE_ENDS | (_CLOSING - _OPENING) | _CLINGING
_BEFORE = ("conjunctions", "prepositions")
_KEEPS_NEXT = (
    *_BEFORE,
    "determiners",
    "adjectives",
    "pronouns",
    "auxiliaries",
    "negations",
    "titles",
)
_KEEPS_PREVIOUS = ("reflexives", "adjectives_after", "negations_after")


class Break(IntEnum):
    """A place between two words, from the best to the worst for a break."""

    SENTENCE = 0
    """After a sentence."""
    CLAUSE = 1
    """After a comma or the like."""
    PHRASE = 2
    """Before a conjunction or preposition."""
    PLAIN = 3
    """Between other words."""
    BOUND = 4
    """Inside what belongs together, such as article and noun."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Word lists of a language, in lower case."""

    has_spaces: bool
    names_have_capitals: bool
    breaks_before: frozenset[str]
    """Words with a good place for a break before them."""
    keeps_next: frozenset[str]
    """Words that the next one belongs to."""
    keeps_previous: frozenset[str]
    """Words that belong to the one before them."""
    titles: frozenset[str]
    """Titles, whose full stop ends no sentence."""

    def breaks(self, words: Sequence[str]) -> list[Break]:
        """Returns the kind of break before each word; the first has that of a sentence."""
        kinds = [Break.SENTENCE]
        kinds += [self._between(left, right) for left, right in itertools.pairwise(words)]
        return kinds[: len(words)]

    def _between(self, left: str, right: str) -> Break:
        bare_left, bare_right = _bare(left), _bare(right)
        if _is_number(bare_left) and _is_number(bare_right):
            return Break.BOUND
        ending = left.rstrip("".join(_CLOSING))[-1:]
        if ending in _SENTENCE_ENDS and not self._is_abbreviation(left, bare_left):
            return Break.SENTENCE
        if ending in _CLAUSE_ENDS:
            return Break.CLAUSE
        if self._is_bound(bare_left, bare_right) or self._is_name(left, right):
            return Break.BOUND
        return Break.PHRASE if bare_right in self.breaks_before else Break.PLAIN

    def _is_bound(self, left: str, right: str) -> bool:
        return left in self.keeps_next or right in self.keeps_previous or _is_number(left)

    def _is_name(self, left: str, right: str) -> bool:
        """Tells first and last names, and other names of several words, by their capitals."""
        return self.names_have_capitals and left[:1].isupper() and right[:1].isupper()

    def _is_abbreviation(self, word: str, bare: str) -> bool:
        """Tells titles and initials, such as `Mr.` and `J.`."""
        return word.endswith(".") and (bare in self.titles or (len(bare) == 1 and bare.isalpha()))


@cache
def grammar_of(language: str) -> Grammar:
    """Returns the word lists of a language, or those that fit any."""
    table = data.read("languages", language) or {}

    def words(*names: str) -> frozenset[str]:
        return frozenset(word for name in names for word in table.get(name, ()))

    return Grammar(
        has_spaces=language not in WITHOUT_SPACES,
        names_have_capitals=table.get("names_have_capitals", True),
        breaks_before=words(*_BEFORE),
        keeps_next=words(*_KEEPS_NEXT),
        keeps_previous=words(*_KEEPS_PREVIOUS),
        titles=words("titles"),
    )


def may_break(left: str, right: str, *, has_spaces: bool) -> bool:
    """Returns True if there may be a break between two words of Whisper's.

    With spaces, only before one; without, anywhere but before closing punctuation and the like or
    after an opening bracket, and not inside foreign words and numbers.
    """
    if right[:1].isspace() or left[-1:].isspace():
        return True
    if has_spaces or not left or not right:
        return False
    if left[-1] in _OPENING or right[0] in _NO_LINE_START or _is_mark(right[0]):
        return False
    return not (_is_foreign(left[-1]) and _is_foreign(right[0]))


def width_of(text: str) -> int:
    """Returns the number of characters that take place: no combining or formatting marks."""
    if text.isascii():
        return len(text)
    return sum(unicodedata.category(character) not in {"Mn", "Me", "Cf"} for character in text)


def _is_number(word: str) -> bool:
    return word[:1].isdecimal() and word[-1:].isdecimal()


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _is_foreign(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _bare(word: str) -> str:
    """Returns a word in lower case, without the punctuation around it."""
    text = word.lower().replace("’", "'")  # noqa: RUF001
    start, end = 0, len(text)
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return text[start:end]
