"""The network of voice activity, loaded when it is first needed; nothing is imported before."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maxwhisper_cli.speech.network import VoiceNetwork


@dataclass(slots=True)
class NetworkLoader:
    """Loader of the network, shared by all recordings of a model."""

    model_dir: Path | None = None
    """Folder of weights, instead of the cache."""
    is_offline: bool = False
    _network: "VoiceNetwork | None" = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def network(self) -> "VoiceNetwork":
        """Returns the network; the first call finds or fetches it, with `load_network`'s errors."""
        from maxwhisper_cli.speech.network_file import load_network

        with self._lock:
            if self._network is None:
                self._network = load_network(self.model_dir, offline=self.is_offline)
            return self._network
