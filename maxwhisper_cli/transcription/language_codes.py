"""Other codes and names for Whisper's languages: ISO 639-2 and 639-3, old codes, own names.

Whisper's codes are mostly ISO 639-1. A table of facts; `languages` decides what is accepted.
"""

from collections.abc import Mapping


def _by_word(table: str) -> dict[str, str]:
    """Returns the code of each word of a table with lines `code: word word ...`."""
    lines = (line.partition(":") for line in table.split(";"))
    return {word: code.strip() for code, _, words in lines for word in words.split()}


ISO_CODES: Mapping[str, str] = _by_word(
    "en: eng; zh: zho chi cmn; de: deu ger; es: spa; ru: rus; ko: kor; fr: fra fre; ja: jpn;"
    "pt: por; tr: tur; pl: pol; ca: cat; nl: nld dut; ar: ara arb; sv: swe; it: ita; id: ind in;"
    "hi: hin; fi: fin; vi: vie; he: heb iw; uk: ukr; el: ell gre; ms: msa may zsm zlm; cs: ces cze;"
    "ro: ron rum mol mo; da: dan; hu: hun; ta: tam; no: nor nob nb; th: tha; ur: urd; hr: hrv;"
    "bg: bul; lt: lit; la: lat; mi: mri mao; ml: mal; cy: cym wel; sk: slk slo; te: tel;"
    "fa: fas per pes prs; lv: lav lvs; bn: ben; sr: srp; az: aze azj; sl: slv; kn: kan;"
    "et: est ekk; mk: mkd mac; br: bre; eu: eus baq; is: isl ice; hy: hye arm; ne: nep npi;"
    "mn: mon khk; bs: bos; kk: kaz; sq: sqi alb als; sw: swa swh; gl: glg; mr: mar; pa: pan;"
    "si: sin; km: khm; sn: sna; yo: yor; so: som; af: afr; oc: oci; ka: kat geo; be: bel; tg: tgk;"
    "sd: snd; gu: guj; am: amh; yi: yid ydd ji; lo: lao; uz: uzb uzn; fo: fao; ht: hat;"
    "ps: pus pbt; tk: tuk; nn: nno; mt: mlt; sa: san; lb: ltz; my: mya bur; bo: bod tib;"
    "tl: tgl fil; mg: mlg plt; as: asm; tt: tat; ln: lin; ha: hau; ba: bak; jw: jav jv; su: sun"
)
"""Whisper's code for codes of ISO 639-2 and 639-3, and for old and other codes of two letters."""

EXTENDED_TAGS: Mapping[str, str] = {"zh-yue": "yue", "zh-cmn": "zh", "no-nyn": "nn"}
"""Whisper's code for tags whose second part is a language as well (RFC 5646)."""

HINTS: Mapping[str, str] = {
    **_by_word(
        "de: deutsch; es: español espanol; fr: français francais; it: italiano;"
        "pt: português portugues brazilian; nl: nederlands; pl: polski; sv: svenska;"
        "da: dansk; no: norsk bokmål bokmal; fi: suomi; tr: türkçe turkce; cs: čeština cz;"
        "hu: magyar; ro: română romana; el: ελληνικά gr; ru: русский; uk: українська ua;"
        "ja: 日本語 jp nihongo; zh: 中文 汉语 漢語 普通话 cn putonghua; ko: 한국어 kr hangul;"
        "ar: العربية; he: עברית; hi: हिन्दी हिंदी; fa: farsi فارسی; vi: vn;"
        "en: us gb american british;"
        "da: dk; tl: filipino pilipino; sr: sh scc; hr: scr; sv: se; ca: català; eu: euskara;"
        "gl: galego; id: bahasa; ms: melayu; my: mm"
    ),
    "auto": "auto",
    "automatic": "auto",
    "detect": "auto",
    "none": "auto",
    "multilingual": "auto",
}
"""Probable language of words that are neither codes nor English names, such as countries."""
