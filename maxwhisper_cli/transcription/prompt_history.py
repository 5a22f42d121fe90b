"""Text so far, as the prompt of the next window.

Source: the handling of `all_tokens`, `prompt_reset_since` and `carry_initial_prompt` in
whisper/transcribe.py.
"""

from collections.abc import Iterable

from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import Tokenizer
from maxwhisper_cli.transcription.window_request import encode_text

_RESET_ABOVE_TEMPERATURE = 0.5


class PromptHistory:
    """Tokens of a transcription, and the selection of them that prompts the next window."""

    def __init__(self, options: TranscribeOptions, tokenizer: Tokenizer, n_text_ctx: int) -> None:
        self._options = options
        self._tokenizer = tokenizer
        self._initial: tuple[int, ...] = ()
        if options.initial_prompt is not None:
            self._initial = encode_text(tokenizer, options.initial_prompt, "the initial prompt")
        max_tokens = n_text_ctx // 2 - 1
        self.warnings: list[str] = []
        if len(self._initial) > max_tokens:
            self.warnings.append(
                f"the initial prompt has {len(self._initial)} tokens; the model is shown its last "
                f"{max_tokens}"
            )
            self._initial = self._initial[-max_tokens:]
        self._tokens = list(self._initial)
        self._reset_since = 0
        self._max_recent_tokens = max_tokens - len(self._initial)

    def prompt(self) -> list[int]:
        """Returns the prompt of the next window; the caller truncates it to the model's limit."""
        if not self._options.carry_initial_prompt:
            return self._tokens[self._reset_since :]
        recent = self._tokens[max(len(self._initial), self._reset_since) :]
        n_left_out = max(0, len(recent) - self._max_recent_tokens)
        return [*self._initial, *recent[n_left_out:]]

    def add(self, tokens: Iterable[int], temperature: float) -> None:
        """Adds a window's tokens; text of high temperature is not part of later prompts."""
        self._tokens.extend(tokens)
        is_hot = temperature > _RESET_ABOVE_TEMPERATURE
        if is_hot or not self._options.condition_on_previous_text:
            self.reset()

    def reset(self) -> None:
        """Leaves the text so far out of later prompts."""
        self._reset_since = len(self._tokens)

    def text(self) -> str:
        """Returns all text so far, without the initial prompt."""
        return self._tokenizer.decode(self._tokens[len(self._initial) :])
