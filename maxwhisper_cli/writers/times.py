"""Seconds as clock time, as subtitle formats and openai-whisper write it."""


def format_timestamp(
    seconds: float, *, always_include_hours: bool = False, decimal_marker: str = "."
) -> str:
    """`83.4` -> `01:23.400`; the hours appear from one hour on, or always.

    Source: `format_timestamp` of whisper/utils.py.
    """
    n_milliseconds = round(seconds * 1000)
    n_minutes, n_milliseconds = divmod(n_milliseconds, 60_000)
    n_hours, n_minutes = divmod(n_minutes, 60)
    n_seconds, n_milliseconds = divmod(n_milliseconds, 1000)
    hours = f"{n_hours:02d}:" if always_include_hours or n_hours else ""
    return f"{hours}{n_minutes:02d}:{n_seconds:02d}{decimal_marker}{n_milliseconds:03d}"
