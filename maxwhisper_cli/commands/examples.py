"""Three examples of each command, for the end of its help."""

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, str, str]] = {
    "transcribe": (
        "maxwhisper transcribe talk.mp3 --model small",
        "maxwhisper transcribe *.wav -o out -f srt,json --vad",
        "maxwhisper transcribe call.wav -f txt -o - --language es",
    ),
    "listen": (
        "maxwhisper listen --model tiny.en",
        "maxwhisper listen --language es -f srt -o out",
        "maxwhisper listen - --raw-format s16le --jsonl",
    ),
    "serve": (
        "maxwhisper serve --model tiny.en",
        "maxwhisper serve --model small --model turbo --port 9000",
        "maxwhisper serve --host 0.0.0.0 --api-key-file keys.txt",
    ),
    "compare": (
        "maxwhisper compare --impl cpu,full-max",
        "maxwhisper compare talk.wav --runs 5 --html report.html",
        "maxwhisper compare --impl full-max,full-max:int8",
    ),
    "parity": (
        "maxwhisper parity talk.wav",
        "maxwhisper parity talk.wav --impl full-max:bfloat16",
        "maxwhisper parity talk.wav --model base --language en",
    ),
    "history": (
        "maxwhisper history",
        "maxwhisper history --last 20",
        "maxwhisper history --history-dir measurements",
    ),
    "compile": (
        "maxwhisper compile --model small",
        "maxwhisper compile --impl full-max --dtype float32",
        "maxwhisper compile --device cuda --target cuda:sm_90a",
    ),
    "implementations": (
        "maxwhisper implementations",
        "maxwhisper implementations --json",
        "COLUMNS=60 maxwhisper implementations",
    ),
    "models": (
        "maxwhisper models",
        "maxwhisper models --model-dir weights",
        "maxwhisper models --json",
    ),
    "doctor": (
        "maxwhisper doctor",
        "maxwhisper doctor --full",
        "maxwhisper doctor --json > report.json",
    ),
    "config": (
        "maxwhisper config",
        "maxwhisper config compare",
        "maxwhisper --config-file my.toml config --json",
    ),
    "completion": (
        "maxwhisper completion install",
        "maxwhisper completion install zsh",
        "maxwhisper completion show bash",
    ),
    "samples": (
        "maxwhisper samples",
        "maxwhisper samples fetch",
        "maxwhisper samples fetch jfk sonnet",
    ),
    "cache": (
        "maxwhisper cache",
        "maxwhisper cache clear",
        "maxwhisper cache clear --all --yes",
    ),
}


def with_examples(name: str, epilog: str | None) -> str | None:
    """Returns the end of a command's help with its examples after what is there already."""
    lines = EXAMPLES.get(name)
    if lines is None or "Examples:" in (epilog or ""):
        return epilog
    shown = "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
    return f"{epilog}\n\n{shown}" if epilog else shown
