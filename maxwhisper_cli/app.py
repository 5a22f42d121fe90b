"""The command line: its commands, and the exit codes of errors.

Exit codes: 0 all done; 1 something failed; 2 wrong usage; 130 stopped by the
user. A `MaxWhisperError` is one line on stderr, and so is what the system refuses; any other
exception is a bug and shows its traceback.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from maxwhisper_cli.commands.examples import with_examples
from maxwhisper_cli.configuration import CONFIG_FILE_VARIABLE, NO_CONFIG_VARIABLE
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.lazy_commands import load_command, unloaded_commands
from maxwhisper_cli.log import LEVELS, use_log
from maxwhisper_cli.stopping import INTERRUPTED, raise_interrupts, stop_at_once
from maxwhisper_cli.system_errors import SYSTEM_ERRORS, refusal
from weights.errors import MaxWhisperError
from weights.printable import printable

if TYPE_CHECKING:
    from maxwhisper_cli.configuration.settings import Settings

_FAILED = 1
_USAGE = 2


_HELP = "Usage: "
"""Beginning of the help, which is the message where a command is given nothing."""
_UsageError: Any = typer.BadParameter.__bases__[0]  # click's, wherever typer keeps it


@contextmanager
def _printable_usage_errors() -> Iterator[None]:
    """Escapes the control characters in arguments, and names the variable that is at fault."""
    try:
        yield
    except _UsageError as error:
        keep = "\n" if error.message.startswith(_HELP) else ""
        error.message = printable(error.message, keep) + _origin(error)
        raise


def _origin(error: Any) -> str:  # noqa: ANN401  (click's)
    """Returns the end of a message about a value from the environment; empty about others."""
    parameter, ctx = getattr(error, "param", None), error.ctx
    if parameter is None or ctx is None or parameter.envvar is None:
        return ""
    source = ctx.get_parameter_source(parameter.name)
    is_variable = source is not None and source.name == "ENVIRONMENT"
    return f" (in the environment: {parameter.envvar})" if is_variable else ""


class ErrorsToExitCodes(TyperGroup):
    """Group of all commands; the only place where errors become exit codes."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  (click's)
        settings["commands"] = unloaded_commands()
        super().__init__(**settings)
        self._loaded: dict[str, Any] = {}

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401  (click's)
        """Reads the command line and runs it."""
        try:
            return super().main(*args, **settings)
        except (MaxWhisperError, *SYSTEM_ERRORS) as error:  # out of the help, for instance
            sys.exit(_report_error(error))

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Imports a command; it gets its examples, and variables of the environment set options."""
        del ctx
        if cmd_name not in self._loaded:
            command = load_command(cmd_name)
            if command is None:
                return None
            from maxwhisper_cli.configuration.settings import NOT_CONFIGURED, name_variables

            command.epilog = with_examples(cmd_name, command.epilog)
            if cmd_name not in NOT_CONFIGURED:
                name_variables(command)
            self._loaded[cmd_name] = command
        return self._loaded[cmd_name]

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Lists the commands, of which none is imported."""
        del ctx
        longest = max(map(len, self.commands))
        limit = formatter.width - 6 - longest  # as click has it: three times its own spacing
        rows = [(name, each.get_short_help_str(limit)) for name, each in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401  (click's)
        """Parses the arguments before the command."""
        with _printable_usage_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Runs the command of the context."""
        is_process = raise_interrupts()
        use_log(ctx.params["_log_level"], is_json=ctx.params["_log_json"])
        if not {"-h", "--help"} & {*ctx.args}:
            ctx.default_map = _settings(ctx)  # type: ignore[assignment]
        try:
            with _printable_usage_errors():
                return super().invoke(ctx)
        except BrokenPipeError:  # the reader of stdout has closed it: click ends silently
            raise
        except (MaxWhisperError, *SYSTEM_ERRORS) as error:
            raise typer.Exit(_report_error(error)) from error
        except KeyboardInterrupt as interrupt:
            Terminal().error("stopped")
            raise typer.Exit(INTERRUPTED) from interrupt
        finally:
            if is_process:
                stop_at_once()


def _report_error(error: BaseException) -> int:
    """Says on stderr what went wrong; returns the exit code."""
    if not isinstance(error, MaxWhisperError):
        if sys.flags.dev_mode:  # python -X dev
            raise error
        error = refusal(error)
    Terminal().error(str(error))
    from maxwhisper_cli.transcription.options import OptionsError

    return _USAGE if isinstance(error, OptionsError) else _FAILED


def _settings(ctx: typer.Context) -> "Settings":
    """Returns the settings of files, which are read when a command asks for its own."""
    from maxwhisper_cli.configuration.settings import Settings

    chosen = ctx.params["_config_file"]
    return Settings(
        ctx,
        chosen=None if chosen is None else Path(chosen),
        is_off=ctx.params["_no_config"],
        warn=Terminal().warning,
    )


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001  (typer's callback)
    if is_wanted:
        from maxwhisper_cli.version import program_version

        typer.echo(f"maxwhisper {program_version()}")
        raise typer.Exit


def _known_level(level: str | None) -> str | None:
    if level is None or level.lower() in LEVELS:
        return level and level.lower()
    raise typer.BadParameter(f"{level!r} is none of {', '.join(LEVELS)}")


def _maxwhisper(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    _config_file: Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            metavar="FILE",
            envvar=CONFIG_FILE_VARIABLE,
            show_envvar=False,
            help="Read this configuration, and no other.",
        ),
    ] = None,
    _no_config: Annotated[
        bool,
        typer.Option(
            "--no-config",
            envvar=NO_CONFIG_VARIABLE,
            show_envvar=False,
            help="Read no configuration file.",
        ),
    ] = False,
    _log_level: Annotated[
        str | None,
        typer.Option(
            "--log-level",
            metavar="LEVEL",
            envvar="MAXWHISPER_LOG_LEVEL",
            show_envvar=False,
            callback=_known_level,
            help=f"Least that is said on stderr: {', '.join(LEVELS)}.",
        ),
    ] = None,
    _log_json: Annotated[
        bool,
        typer.Option(
            "--log-json",
            envvar="MAXWHISPER_LOG_JSON",
            show_envvar=False,
            help="Say it in lines of JSON.",
        ),
    ] = False,
) -> None:
    """Transcribe speech with OpenAI's Whisper, on the implementation of your choice."""


def make_app() -> typer.Typer:
    """Returns the application; its commands are in `lazy_commands`."""
    app = typer.Typer(
        cls=ErrorsToExitCodes,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_maxwhisper)
    return app
