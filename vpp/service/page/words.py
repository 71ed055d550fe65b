"""Every string of the page, by language."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vpp.service.page import words_en, words_zh

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": words_en.WORDS, "zh": words_zh.WORDS}
DEFAULT = "en"
Words = Callable[..., str]


def other(language: str) -> str:
    """The language to switch to."""
    return next(name for name in LANGUAGES if name != language)


def words(language: str) -> Words:
    """`say(key, **values)` in that language; English for an unknown one. A missing key raises KeyError."""
    known = LANGUAGES.get(language, LANGUAGES[DEFAULT])

    def say(key: str, **values: object) -> str:
        return known[key].format(**values)

    return say
