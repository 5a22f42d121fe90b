"""The table of commands, options and values, from the command line itself."""

import inspect
from collections.abc import Iterable
from typing import Any

import typer

from implementations import registry
from maxwhisper_cli.completion.answer import FILES, FOLDERS, WORDS
from maxwhisper_cli.upstream_style import SWITCH_METAVAR

Words = list[tuple[str, str]]
"""Values with their descriptions."""
_N_ABOUT = 60
_LISTS = frozenset({"output-format", "impl"})
"""Options that take several values with commas between them."""
_FILE_METAVARS = frozenset({"FILE", "PATH", "MODEL", "STYLE"})


def make_table() -> dict[str, Any]:
    """Returns the table of the whole program, as JSON values."""
    from maxwhisper_cli.app import make_app

    group = typer.main.get_command(make_app())
    context = typer.Context(group, info_name="maxwhisper")
    return _command(group, context)


def _command(command: Any, context: typer.Context) -> dict[str, Any]:  # noqa: ANN401  (click's)
    options: dict[str, Any] = {}
    arguments: list[dict[str, Any]] = []
    for parameter in command.get_params(context):
        entry = _parameter(parameter)
        if parameter.param_type_name == "argument":
            arguments.append(entry)
        else:
            options.update(dict.fromkeys((*parameter.opts, *parameter.secondary_opts), entry))
    names = command.list_commands(context) if hasattr(command, "list_commands") else ()
    commands = {}
    for name in names:
        inner = command.get_command(context, name)
        commands[name] = _command(inner, typer.Context(inner, parent=context, info_name=name))
    about = _shortened(inspect.cleandoc(command.help or "").partition("\n")[0])
    return {"about": about, "options": options, "arguments": arguments, "commands": commands}


def _parameter(parameter: Any) -> dict[str, Any]:  # noqa: ANN401  (click's)
    names = [name for name in parameter.opts if name.startswith("--")]
    key = names[0].removeprefix("--") if names else str(parameter.name)
    metavar = parameter.metavar or ""
    is_switch = metavar == SWITCH_METAVAR
    return {
        "about": _shortened(getattr(parameter, "help", None) or ""),
        "takes_value": not getattr(parameter, "is_flag", False) and key != "help",
        "may_lack_value": is_switch,
        "is_list": key in _LISTS,
        "has_gpus": key == "device",
        "files": _files(metavar, key),
        "values": [("True", ""), ("False", "")] if is_switch else _values(parameter, key),
    }


def _files(metavar: str, key: str) -> str:
    if metavar == "DIR":
        return FOLDERS
    is_file = metavar in _FILE_METAVARS or "FILE" in metavar or key == "files"
    return FILES if is_file else WORDS


def _values(parameter: Any, key: str) -> Words:  # noqa: ANN401  (click's)
    makers = {
        "model": _models,
        "language": _languages,
        "impl": _implementations,
        "device": lambda: [(kind, about) for kind, about in registry.DEVICE_KINDS.items()],
        "dtype": lambda: _plain(("auto", "float32", "float16", "bfloat16", "int8")),
        "output-format": _formats,
        "task": lambda: _plain(("transcribe", "translate")),
        "channel": lambda: _plain(("mix", "left", "right", "split")),
        "caption-style": lambda: _plain(("none", "netflix", "bbc")),
        "target": lambda: _plain(registry.COMPILE_TARGETS),
        "batch-size": lambda: _plain(("auto",)),
        "log-level": lambda: _plain(("debug", "info", "warning", "error")),
        "command": _configured,
        "shell": _shells,
        "names": _samples,
    }
    if key in makers:
        return makers[key]()
    return _plain(map(str, getattr(parameter.type, "choices", ())))


def _plain(names: Iterable[str]) -> Words:
    return [(name, "") for name in names]


def _models() -> Words:
    from weights.models import NAMED_MODELS

    return [(name, f"{model.n_bytes / 1e6:,.0f} MB") for name, model in NAMED_MODELS.items()]


def _languages() -> Words:
    from maxwhisper_cli.transcription.languages import language_names

    names = language_names()
    return [("auto", "detected"), *names.items(), *_plain(names.values())]


def _implementations() -> Words:
    entries = [(e.name, f"encoder {e.encoder}, decoder {e.decoder}") for e in registry.ENTRIES]
    return [(registry.AUTO, "the fastest that is ready"), *entries]


def _formats() -> Words:
    from maxwhisper_cli.writers.registry import ALL, WRITERS

    return [("all", ", ".join(ALL)), *_plain(WRITERS)]


def _samples() -> Words:
    from maxwhisper_cli.samples import load_manifest

    return [(sample.name, _shortened(sample.about)) for sample in load_manifest()]


def _configured() -> Words:
    return _plain(("transcribe", "compare", "parity", "history", "compile"))


def _shells() -> Words:
    from maxwhisper_cli.completion.scripts import SHELLS

    return _plain(SHELLS)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _N_ABOUT else f"{text[: _N_ABOUT - 3]}..."
