"""Settings from files and the environment, checked as options are.

Comes in: `maxwhisper.toml`, `pyproject.toml` and variables of the environment. Goes out: values for
the options of a command, each with its source. The Python API reads none of it.
"""

CONFIG_FILE_VARIABLE, NO_CONFIG_VARIABLE = "MAXWHISPER_CONFIG_FILE", "MAXWHISPER_NO_CONFIG"
