"""Tell in which language texts are, by their script and their commonest small words: enough to fill in a card.

It knows the languages below and no others, and says so rather than guess: what has few of their words is unknown.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# the small words that no other language of the list has among its common ones
WORDS = {
    "en": "the and of to is that it was for you with are this have not they be at my i we but what your",
    "de": "der die und das ist nicht ich zu den mit sich auf dem ein eine es wir sie im für auch war bei aus wie",
    "fr": "le les et des est pas je que une dans il nous pour vous qui sur avec au ce mais sont cette très",
    "es": "el los y que en es una por con las se del no para está muy pero lo como su mi más fue",
    "it": "il di che è non per una sono con del della mi gli nel ma molto anche ho più questo ci alla",
    "pt": "o os e que não uma do da em um com para é mas muito as eu no na por foi está você",
    "nl": "de het een en van niet ik dat is zijn op te met voor wij ze maar ook er je heb was naar",
}
SCRIPTS = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh", "GREEK": "el", "HEBREW": "he", "THAI": "th",
    "DEVANAGARI": "hi", "ARABIC": "ar", "CYRILLIC": "ru",
}  # fmt: skip
WITHOUT_BLANKS = frozenset({"zh", "ja", "th"})  # languages that part no words
LEAST_SHARE = 0.1  # of all words that must be small words of a language: prose has 0.3 to 0.5, labels and codes none
SIGNS_LOOKED_AT = 200_000
KNOWN = {language: frozenset(words.split()) for language, words in WORDS.items()}


def language_of(texts: Sequence[str]) -> str | None:
    """Name the language of most of the texts, as ISO 639-1 has it; None where it is none of those known here.

    A script stands for its commonest language: Cyrillic reads as ru, Arabic as ar.

    >>> language_of(["The room was not clean.", "This is what you have to know."]), language_of(["Das ist nicht gut."])
    ('en', 'de')
    >>> [language_of([text]) for text in ("これは本です。", "恭喜您中奖", "안녕하세요", "xk 17")]
    ['ja', 'zh', 'ko', None]
    """
    sample = "\n".join(texts)[:SIGNS_LOOKED_AT].casefold()
    scripts = Counter(_script(sign) for sign in sample if sign.isalpha())
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > scripts.total() / 20:  # Japanese mixes them into Chinese signs
        return "ja"
    script = max(scripts, key=lambda name: scripts[name], default="")
    if script != "LATIN":
        return SCRIPTS.get(script)
    words = Counter(re.findall(r"[^\W\d_]+", sample))
    found = {language: sum(words[word] for word in small) for language, small in KNOWN.items()}
    best = max(found, key=lambda language: found[language])
    return best if found[best] >= LEAST_SHARE * words.total() else None


def _script(sign: str) -> str:
    return unicodedata.name(sign, "").partition(" ")[0].partition("-")[0]
