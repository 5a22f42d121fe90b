"""Beam search on the device but for the choice among a handful of tokens for each beam.

Logits stay on the device; what goes back and forth in a step are the beams' states, where their
pasts lie, and their likeliest next tokens.
"""

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.beam import BeamSearch
from implementations.decoding.rules import RuleBook
from implementations.decoding.search import HypothesisSearch
from implementations.max_graph.gpu.device_rules import DeviceRules, fill
from implementations.max_graph.gpu.load import Recorded
from implementations.max_graph.gpu.session import DecoderModels, GpuSession
from implementations.max_graph.rule_inputs import N_STATE_FIELDS, hypothesis_states
from implementations.max_graph.session import MaxAudioFeatures


class BeamRoom:
    """What a recorded step works on, for one session at a time."""

    def __init__(self, models: DecoderModels, n_group: int, audio: Buffer) -> None:
        dims, device = models.dims, models.device
        self._models = models
        self.n_group = n_group
        self.slots = Buffer.zeros((n_group, dims.n_text_ctx), DType.int32, device)
        self.windows = Buffer.zeros((n_group,), DType.int32, device)
        self.cache = models.new_cache(n_group)
        self.audio = Buffer.zeros(audio.shape, audio.dtype, device)
        self.states = Buffer.zeros((n_group, N_STATE_FIELDS), DType.int32, device)
        self.rules = DeviceRules(dims.n_vocab, device)
        self._recorded: Recorded | None = None

    def step(self) -> np.ndarray:
        """Token and log-probability of each beam's likeliest next tokens, [n_group, MOST, 2]."""
        if self._recorded is None:
            step = self._models.models["beam_step"]
            inputs = (
                self.slots,
                self.windows,
                self.cache,
                self.audio,
                self.states,
                self.rules.numbers,
                self.rules.mask,
            )
            (found,) = step.execute(*inputs)
            self._recorded = Recorded.of(step, *inputs)
        else:
            self._recorded.run()
            (found,) = self._recorded.outputs
        array: np.ndarray = found.to_numpy()
        return array

    def close(self) -> None:
        """Free what was recorded."""
        if self._recorded is not None:
            self._recorded.release()


class BeamSession(GpuSession):
    """A session whose steps find the likeliest tokens themselves."""

    def __init__(
        self, models: DecoderModels, audio_features: MaxAudioFeatures, room: BeamRoom
    ) -> None:
        super().__init__(models, audio_features, room.n_group, room.cache)
        self._room = room
        room.audio.inplace_copy_from(self._audio)

    def advance(self, search: HypothesisSearch, book: RuleBook) -> list[int] | None:
        """Feed each beam its latest token and let the search choose among the likeliest next."""
        assert isinstance(search, BeamSearch), "the session serves beams"
        room, n_group = self._room, self._room.n_group
        room.rules.take(book.rules)
        begin = book.rules.timestamp_begin
        fill(room.states, hypothesis_states(search.sampled, self._n_filled, begin))
        fill(room.slots, self._slots)
        found = room.step()[:, : n_group + 1]
        self._slots[:, self._n_filled] = np.arange(n_group)
        self._n_filled += 1
        return search.extend(found[:, :, 0].astype(np.int64), found[:, :, 1])
