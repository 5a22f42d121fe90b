"""Openai-whisper's PyTorch model as an implementation, on any device."""

import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import torch
from whisper.model import Whisper

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation
from implementations.options import LoadOptions
from implementations.session import Alignment, AudioFeatures, FloatArray, Heads
from implementations.torch_alignment import align_text
from implementations.torch_model.load import build_model, choose_dtype
from implementations.torch_model.session import TorchSession, cross_attention
from implementations.torch_tensors import TorchAudioFeatures, float32_array, free
from weights.checkpoint import Checkpoint


class TorchImplementation(Implementation):
    """Encoder and decoder of openai-whisper; subclasses choose the device."""

    default_dtype: ClassVar[str]

    def __init__(self, model: Whisper, checkpoint: Checkpoint, device: torch.device) -> None:
        self.dims = checkpoint.dims
        self.alignment_heads = checkpoint.alignment_heads
        self.device = str(device)
        self._torch_dtype = model.decoder.token_embedding.weight.dtype
        self.dtype = str(self._torch_dtype).removeprefix("torch.")
        self._model = model
        self._torch_device = device
        self._lock = threading.RLock()

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Builds the model on the device, and sets PyTorch's thread count if one is given."""
        device = cls.choose_device(options.device)
        dtype = choose_dtype(options.dtype, cls.default_dtype)
        if options.n_threads:
            torch.set_num_threads(options.n_threads)
        return cls(build_model(checkpoint, device, dtype), checkpoint, device)

    @classmethod
    def choose_device(cls, device: str | None) -> torch.device:
        """Returns the device to run on.

        Raises:
            ImplementationUnavailableError: The implementation or this machine lacks the device.
        """
        raise NotImplementedError

    @torch.inference_mode()
    def encode(self, mel: FloatArray) -> AudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows."""
        with self._lock:
            tensor = torch.from_numpy(mel).to(self._torch_device, self._torch_dtype)
            return TorchAudioFeatures(self._model.encoder(tensor))

    def wait(self) -> None:
        """Waits for the GPU, if the device is one."""
        if self._torch_device.type == "cuda":
            torch.cuda.synchronize(self._torch_device)

    def close(self) -> None:
        """Frees the weights."""
        with self._lock:
            free(self._model)

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields name and float32 copy of each parameter."""
        for name, tensor in self._model.state_dict().items():
            yield name, float32_array(tensor)

    @torch.inference_mode()
    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states, gathered by hooks."""
        states: list[FloatArray] = []

        def save_input(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            states.append(inputs[0].float().cpu().numpy())

        with self._lock:
            # The input of a block is the state before it; the input of ln_post is the last state.
            modules = (*self._model.encoder.blocks, self._model.encoder.ln_post)
            hooks = [module.register_forward_pre_hook(save_input) for module in modules]
            try:
                self.encode(mel)
            finally:
                for hook in hooks:
                    hook.remove()
        return states

    def start(self, audio_features: AudioFeatures, n_group: int) -> TorchSession:
        """Opens a session; waits while another thread has one open."""
        return TorchSession(self._model, own_tensor(audio_features), n_group, self._lock)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Returns cross-attention scores of the given heads, and logits, over the tokens."""
        with self._lock:
            scores, logits = cross_attention(self._model, own_tensor(audio_features), tokens, heads)
        return Alignment(float32_array(scores), float32_array(logits))

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        """Aligns one text after the other; scores and logits stay on the device."""
        found = []
        for i, request in enumerate(requests):
            window = own_tensor(audio_features)[i : i + 1]
            with self._lock:
                scores, logits = cross_attention(self._model, window, request.tokens, request.heads)
            first = len(request.sot_sequence)
            found.append(align_text(scores, logits[first : first + len(request.text)], request))
        return found


def own_tensor(audio_features: AudioFeatures) -> torch.Tensor:
    """Returns the tensor of features that an implementation on PyTorch made."""
    assert isinstance(audio_features, TorchAudioFeatures), "features of another implementation"
    return audio_features.tensor
