"""Records of a unit as a Parquet file; needs pyarrow.

The columns that are ours have the same types in every file, so that a folder of them can be read
as one table. Fields of the manifest have the types of their values; a field that mixes types, or
is empty in a file, is text in it: JSON where it is none.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from weights.errors import MaxWhisperError


def require_pyarrow() -> Any:  # noqa: ANN401  (the module, which has no types)
    """Returns the module pyarrow.

    Raises:
        MaxWhisperError: It is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet  # noqa: F401  (it is loaded by itself)
    except ImportError as error:
        raise MaxWhisperError("parquet needs a package: pip install pyarrow") from error
    return pyarrow


def to_parquet(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the bytes of a file with a row for each record.

    Raises:
        MaxWhisperError: pyarrow is not installed.
    """
    arrow = require_pyarrow()
    ours = _types(arrow)
    names = dict.fromkeys(name for record in records for name in record)
    columns = {}
    for name in dict.fromkeys([*names, *ours]):
        values = [record.get(name) for record in records]
        columns[name] = _column(arrow, values, ours.get(name))
    file = io.BytesIO()
    arrow.parquet.write_table(arrow.table(columns), file, compression="zstd")
    return file.getvalue()


def _types(arrow: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns the types of our columns."""
    text, number, whole = arrow.string(), arrow.float64(), arrow.int64()
    word = arrow.struct(
        [("word", text), ("start", number), ("end", number), ("probability", number)]
    )
    segment = arrow.struct(
        [
            ("id", whole), ("start", number), ("end", number), ("text", text),
            ("temperature", number), ("avg_logprob", number), ("compression_ratio", number),
            ("no_speech_prob", number), ("language", text), ("words", arrow.list_(word)),
            ("speaker", text),
        ]
    )  # fmt: skip
    return {
        "text": text,
        "segments": arrow.list_(segment),
        "language": text,
        "seconds": number,
        "model": text,
        "implementation": text,
        "dtype": text,
        "version": text,
        "warnings": arrow.list_(text),
        "error": text,
    }


def _column(arrow: Any, values: Sequence[Any], kind: Any) -> Any:  # noqa: ANN401
    if kind is not None:
        return arrow.array(values, kind)
    try:
        column = arrow.array(values)
    except (arrow.ArrowException, TypeError, OverflowError):
        column = None
    if column is not None and not arrow.types.is_null(column.type):
        return column
    as_text = [None if value is None else _text(value) for value in values]
    return arrow.array(as_text, arrow.string())


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
