"""Files that are not UTF-8: an encoding is named where it is likely, and none where another reads as well."""

import pytest

from understudy.data.encodings import guessed, is_western, remedy


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("Die Küche war schön und groß.", "cp1252", "WINDOWS-1252"),
        ("Le café près du théâtre, très agréable", "cp1252", "WINDOWS-1252"),
        ("mañana, señor: qué bien", "latin-1", "WINDOWS-1252"),
        ("informações, você não", "cp1252", "WINDOWS-1252"),
        ("perché così è più", "cp1252", "WINDOWS-1252"),
        ("smørrebrød på bordet, og lækkert", "cp1252", "WINDOWS-1252"),
        ("it\u2019s \u201cfine\u201d \u2013 really", "cp1252", "WINDOWS-1252"),
        ("Grüße aus Köln", "mac_roman", "MACINTOSH"),
        ("Grüße aus Köln", "cp850", "CP850"),
        ("Привет, мир", "cp1251", "WINDOWS-1251"),
        ("Отличный отель, спасибо", "cp1251", "WINDOWS-1251"),
        ("dziękuję, bądź miły", "cp1250", None),
        ("Dziękuję, cześć", "cp1250", None),
        ("dziękuję", "iso8859_2", None),
        ("się", "cp1250", None),
        ("być", "cp1250", None),
        ("kůň má řeč a něco", "cp1250", None),
        ("Żółć", "iso8859_2", None),
        ("idő, hűtő", "cp1250", None),
        ("Привет мир", "koi8_r", None),
        ("Отличный отель, спасибо", "koi8_r", None),
        ("\u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1", "cp1253", None),
        ("\u03b5\u03c5\u03c7\u03b1\u03c1\u03b9\u03c3\u03c4\u03ce, \u03cc\u03bb\u03b1", "cp1253", None),
        ("שלום עולם", "cp1255", None),
        ("مرحبا", "cp1256", None),
        ("Ağaç için, teşekkürler", "cp1254", None),
        ("日本語の本", "euc_jp", None),
        ("你好世界", "gbk", None),
    ],
)
def test_an_encoding_is_named_where_its_letters_stand_as_its_languages_have_them(
    text: str, codec: str, name: str | None
) -> None:
    read = text.encode(codec).decode("utf-8", "surrogateescape")
    assert guessed(read) == name
    said = remedy(read, "a.csv")
    assert ("iconv" in said) == (name is not None)
    assert is_western(said) == (name not in {None, "WINDOWS-1251"})


def test_where_none_is_named_the_bytes_are_shown_as_they_are() -> None:
    read = "it was miły here".encode("cp1250").decode("utf-8", "surrogateescape")
    assert remedy(read, "a.csv") == r"save the file as UTF-8 (the bytes: it was mi\xb3y here)"
