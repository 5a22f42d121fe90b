"""The whole examination: all sections and checks, side by side where they wait."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from maxwhisper_cli.configuration.settings import Settings
from maxwhisper_cli.doctor import machine, places
from maxwhisper_cli.doctor.checks import TinyCompile, quick_checks
from maxwhisper_cli.doctor.report import Fact, Report, Section, section

MAX_COMPILE_SECONDS = 2.3
"""Time for the tiny graph, so that the whole report takes at most 3 s."""


def examine(settings: Settings, *, is_full: bool = False) -> Report:
    """Returns the report about this machine.

    Args:
        settings: Settings that hold here.
        is_full: True waits for the compiler as long as it takes, and makes it do more.
    """
    collectors: dict[str, Callable[[], list[Fact]]] = {
        "program": machine.program_facts,
        "machine": machine.system_facts,
        "gpu": machine.gpu_facts,
        "implementations": places.implementation_facts,
        "weights": places.weights_facts,
        "compiled graphs": places.compiled_facts,
        "folders": places.folder_facts,
        "extras": places.extra_facts,
        "settings": partial(places.setting_facts, settings),
    }
    compiler = TinyCompile(max_seconds=None if is_full else MAX_COMPILE_SECONDS)
    with closing(compiler), ThreadPoolExecutor(1) as pool:
        microphone = pool.submit(section, "microphone", places.microphone_facts)
        sections: list[Section] = [section(*item) for item in collectors.items()]
        checks = quick_checks(settings)
        sections.append(microphone.result())
        return Report(tuple(sections), (*checks, compiler.check()))
