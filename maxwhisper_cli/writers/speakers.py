"""Speakers in text formats; without a speaker the text is openai-whisper's, unchanged."""

import html


def name_speaker(text: str, speaker: str | None) -> str:
    """Returns `Anna: text`, as txt and srt show who speaks."""
    return f"{speaker}: {text}" if speaker is not None and text else text


def voice_tag(text: str, speaker: str | None) -> str:
    """Returns `<v Anna>text</v>`, the voice span of WebVTT, from which a player takes the name."""
    if speaker is None or not text:
        return text
    return f"<v {html.escape(speaker, quote=False)}>{text}</v>"
