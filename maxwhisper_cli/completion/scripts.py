"""Shell scripts that ask the program for completions, and where each shell looks for them."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.writers.files import check_place, write_atomically
from weights.cache import expanded

_BASH = r"""# completions of maxwhisper, for bash
_maxwhisper_complete() {
    local IFS=$'\n' answer
    COMPREPLY=()
    answer=($(COMP_LINE="${COMP_LINE:0:$COMP_POINT}" _MAXWHISPER_COMPLETE=bash "$1" 2>/dev/null))
    case "${answer[0]}" in
        files) compopt -o default ;;
        folders) compopt -o dirnames ;;
    esac
    COMPREPLY=("${answer[@]:1}")
}
complete -F _maxwhisper_complete maxwhisper
"""

_ZSH = r"""#compdef maxwhisper
# completions of maxwhisper, for zsh
_maxwhisper() {
    local line kind tab=$'\t'
    local -a answer names described
    line="${(j: :)${(@q)words[1,CURRENT]}}"
    answer=("${(@f)$(COMP_LINE="$line" _MAXWHISPER_COMPLETE=zsh "${words[1]}" 2>/dev/null)}")
    kind=$answer[1]
    for line in "${(@)answer[2,-1]}"; do
        names+=("${line%%$tab*}")
        described+=("${line%%$tab*}${${line#*$tab}:+  -- ${line#*$tab}}")
    done
    (( $#names )) && compadd -l -d described -a names
    case "$kind" in
        files) _files ;;
        folders) _files -/ ;;
    esac
}
if [ "$funcstack[1]" = "_maxwhisper" ]; then
    _maxwhisper "$@"
else
    compdef _maxwhisper maxwhisper
fi
"""

_FISH = r"""# completions of maxwhisper, for fish
function __maxwhisper_complete
    set -l answer (COMP_LINE=(commandline -cp) _MAXWHISPER_COMPLETE=fish maxwhisper 2>/dev/null)
    printf '%s\n' $answer[2..-1]
    switch "$answer[1]"
        case files
            __fish_complete_path (commandline -ct)
        case folders
            __fish_complete_directories (commandline -ct)
    end
end
complete -c maxwhisper -f -a '(__maxwhisper_complete)'
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A shell's script, its place, and the line that makes the shell read it."""

    script: str
    path: Path
    startup_file: Path | None = None
    """File of the shell that has to name the script; None if the shell finds it by itself."""
    line: str = ""


def _bash() -> Installation:
    data = _folder("XDG_DATA_HOME", "~/.local/share")
    path = data / "bash-completion" / "completions" / "maxwhisper"
    if Path("/usr/share/bash-completion/bash_completion").is_file():  # finds it by itself
        return Installation(_BASH, path)
    line = f"source {shlex.quote(str(path))}"
    return Installation(_BASH, path, expanded(Path("~/.bashrc")), line)


def _zsh() -> Installation:
    path = _folder("XDG_DATA_HOME", "~/.local/share") / "zsh" / "site-functions" / "_maxwhisper"
    folder = Path(os.environ.get("ZDOTDIR") or "~")
    line = f"fpath=({shlex.quote(str(path.parent))} $fpath); autoload -Uz compinit && compinit"
    return Installation(_ZSH, path, expanded(folder) / ".zshrc", line)


def _fish() -> Installation:
    folder = _folder("XDG_CONFIG_HOME", "~/.config")
    return Installation(_FISH, folder / "fish" / "completions" / "maxwhisper.fish")


SHELLS: dict[str, Callable[[], Installation]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""Shells by name."""


def current_shell() -> str | None:
    """Returns the name of the user's shell, if it is one of these."""
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in SHELLS else None


def install(shell: str) -> tuple[Path, Path | None]:
    """Writes a shell's script, and once the line that reads it.

    Returns:
        The script, and the startup file that the line was added to, if it was.

    Raises:
        OSError: One of them cannot be written.
        OutputError: One of them is protected.
    """
    installation = SHELLS[shell]()
    startup = installation.startup_file
    if startup is not None:
        check_place(startup)
    installation.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(installation.path, installation.script)
    if startup is None:
        return installation.path, None
    text = startup.read_text(encoding="utf-8", errors="replace") if startup.exists() else ""
    if installation.line in text.splitlines():
        return installation.path, None
    with startup.open("a", encoding="utf-8") as file:
        file.write(f"{'' if text.endswith(chr(10)) or not text else chr(10)}{installation.line}\n")
    return installation.path, startup


def _folder(variable: str, default: str) -> Path:
    return expanded(Path(os.environ.get(variable) or default))
