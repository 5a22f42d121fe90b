"""The graphs on a GPU: against openai-whisper on the CPU where there is one, else their refusal."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from implementations import registry
from implementations.diagnostics import diagnostics
from implementations.errors import ImplementationUnavailableError
from implementations.implementation import Implementation
from implementations.max_graph.load_plan import make_plan
from implementations.max_graph.request import GPU_GRAPHS, CompileRequest
from implementations.options import LoadOptions
from implementations.request import DecodeRequest, Search, TokenRules
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.checkpoints import SMALL_DIMS, random_tensors
from tests.support.fake_gpus import GTX_1080, H200, FakeGpus
from tests.support.hardware import needs_max_gpu
from tests.support.non_finite_logits import assert_fails_without_affecting_batch
from tests.support.spoken_texts import spoken_requests
from weights.checkpoint import Checkpoint

driver = pytest.importorskip("max.driver", reason="MAX is not installed: maxwhisper[max]")

gpu_load = pytest.importorskip("implementations.max_graph.gpu.load")

HAS_GPU = driver.accelerator_count() > 0
IMPLEMENTATIONS = ("full-max", "hybrid")


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def on_gpu(name: str, gpu_kernels: str) -> Model:
    return loaded.load("tiny.en", name, device="cuda", dtype="float32")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
@pytest.mark.parametrize("beam_size", [None, 5])
@pytest.mark.parametrize("recording", ["jfk", "sonnet"])
def test_float32_is_token_identical(
    on_gpu: Model, recording: str, beam_size: int | None, request: pytest.FixtureRequest
) -> None:
    loaded.assert_token_identical(on_gpu, request.getfixturevalue(recording), beam_size)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@pytest.mark.full
@needs_max_gpu
@pytest.mark.parametrize("beam_size", [None, 5])
def test_float32_is_token_identical_on_every_shared_file(
    on_gpu: Model, beam_size: int | None, shared_audio_file: Path
) -> None:
    loaded.assert_token_identical(on_gpu, shared_audio_file, beam_size)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
@pytest.mark.parametrize("beam_size", [None, 5])
def test_float16_says_the_same_words(name: str, sonnet: Path, beam_size: int | None) -> None:
    options = TranscribeOptions(beam_size=beam_size, temperatures=(0.0,))
    model = loaded.load("tiny.en", name, device="cuda")
    assert (model.implementation.device, model.implementation.dtype) == ("cuda:0", "float16")
    words = model.transcribe(loaded.samples_of(sonnet), options).text.split()
    assert words == loaded.whisper_result("tiny.en", sonnet, beam_size)["text"].split()


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
def test_many_windows_are_encoded_as_one_alone(name: str) -> None:
    on_device = loaded.load("tiny.en", name, device="cuda").implementation
    mel = np.random.default_rng(0).standard_normal((7, 80, 3000), np.float32)
    together = [*diagnostics(on_device).trace_encoder(mel), on_device.encode(mel).numpy()]
    for index, window in enumerate(mel):
        alone = [
            *diagnostics(on_device).trace_encoder(window[None]),
            on_device.encode(window[None]).numpy(),
        ]
        for ours, expected in zip(together, alone, strict=True):
            difference = np.linalg.norm(ours[index] - expected[0])
            assert difference < 2e-3 * np.linalg.norm(expected[0])


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
def test_weights_and_alignment(on_gpu: Model) -> None:
    cpu = loaded.model("tiny.en", "cpu").implementation
    held, expected = (
        dict(diagnostics(on_gpu.implementation).weights()),
        dict(diagnostics(cpu).weights()),
    )
    assert held.keys() == expected.keys()
    assert all(np.array_equal(held[key], expected[key]) for key in expected)
    mel = np.random.default_rng(0).standard_normal((1, 80, 3000), np.float32)
    heads, tokens = loaded.checkpoint("tiny.en").alignment_heads, [50257, 50362, 843, 616]
    ours = on_gpu.implementation.align(on_gpu.implementation.encode(mel), tokens, heads)
    theirs = cpu.align(cpu.encode(mel), tokens, heads)
    np.testing.assert_allclose(ours.cross_attention, theirs.cross_attention, rtol=0, atol=2e-3)
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=0, atol=2e-3)


@pytest.fixture(scope="module")
def windows(jfk: Path, sonnet: Path) -> np.ndarray:
    """Windows of real speech, [3, 80, 3000]."""
    with MelSpectrogram([loaded.samples_of(jfk)], 80) as mel:
        first = mel.padded_window(0, mel.n_content_frames)
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as mel:
        return np.stack([mel.padded_window(0), first, mel.padded_window(1500)])


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_texts_are_aligned_as_on_the_cpu(name: str, dtype: str, windows: np.ndarray) -> None:
    """In float32 to the position; in halves, 99 % of all tokens within 0.04 s, two positions."""
    cpu = loaded.model("tiny.en", "cpu").implementation
    requests = spoken_requests(windows, (1500, 550, 1500))
    expected = cpu.align_batch(cpu.encode(windows), requests)
    ours = loaded.load("tiny.en", name, device="cuda", dtype=dtype).implementation
    features = ours.encode(windows)
    together = ours.align_batch(features, requests)
    alone = [ours.align_batch(features[i], [each])[0] for i, each in enumerate(requests)]
    for found in (together, alone):
        off = np.concatenate(
            [
                np.abs(our.positions - their.positions)
                for our, their in zip(found, expected, strict=True)
            ]
        )
        assert np.mean(off <= (0 if dtype == "float32" else 2)) >= 0.99
        for our, their in zip(found, expected, strict=True):
            tolerance = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.15}[dtype]
            np.testing.assert_allclose(our.probabilities, their.probabilities, atol=tolerance)


SEARCHES = {
    "greedy": Search(),
    "sample": Search(temperature=0.4),
    "5_samples": Search(temperature=0.6, n_group=5, length_penalty=1.0),
    "2_beams": Search(n_group=2, is_beam_search=True, patience=1.5),
    "5_beams": Search(n_group=5, is_beam_search=True, patience=1.5),
}


RULES = TokenRules(
    eot=50256,
    timestamp_begin=50363,
    no_speech=50361,
    suppressed=(1, 2, 7, 50257, 50358, 50359, 50360, 50361, 50362),
    suppressed_first=(220, 50256),
    max_initial_timestamp=50,
)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("with_timestamps", [True, False])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_loop_on_the_device_is_the_generic_one(
    dtype: str, search: Search, with_timestamps: bool, sonnet: Path
) -> None:
    on_device = loaded.load("tiny.en", "full-max", device="cuda", dtype=dtype)
    rules = dataclasses.replace(RULES, with_timestamps=with_timestamps)
    prompt = (50257,) if with_timestamps else (50257, 50362)
    requests = [
        DecodeRequest(prompt, 0, 448, 224, rules, dataclasses.replace(search, seed=(seed,)))
        for seed in range(3)
    ]
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as mel:
        windows = np.stack([mel.padded_window(start) for start in (0, 1500, 3000)])
    ours = on_device.implementation
    features = ours.encode(windows)
    decoded = [ours.decode(features[i], request) for i, request in enumerate(requests)]
    generic = [
        Implementation.decode(ours, features[i], request) for i, request in enumerate(requests)
    ]
    for window, expected in zip(decoded, generic, strict=True):
        assert window.tokens == expected.tokens
        assert len(window.tokens) > 10
        assert window.sum_logprob == pytest.approx(expected.sum_logprob, rel=1e-2)
    # In halves, more rows round otherwise, and beams that are nearly as good change places.
    if dtype == "float32" or (dtype == "float16" and search.temperature == 0):
        together = ours.decode_batch(features, requests)
        if dtype == "float32" or not search.is_beam_search:
            assert [window.tokens for window in together] == [window.tokens for window in decoded]
        for window, alone in zip(together, decoded, strict=True):
            assert window.sum_logprob == pytest.approx(alone.sum_logprob, rel=5e-3)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu_kernels")
@needs_max_gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_window_without_numbers_is_an_error_and_harms_no_other(
    dtype: str, search: Search, jfk: Path
) -> None:
    ours = loaded.load("tiny.en", "full-max", device="cuda", dtype=dtype).implementation
    request = DecodeRequest((50257,), 0, 448, 224, RULES, search)
    with MelSpectrogram([loaded.samples_of(jfk)], 80) as mel:
        speech = mel.padded_window(0)
    windows = ours.encode(np.stack([speech, np.full_like(speech, np.nan)]))
    assert_fails_without_affecting_batch(ours, windows, request)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_without_a_gpu_says_so(name: str, device: str, fake_gpus: FakeGpus) -> None:
    message = f"--device {device} cannot be used: no NVIDIA driver (libcuda.so.1) on this machine"
    with pytest.raises(ImplementationUnavailableError, match=re.escape(message)):
        loaded.load("tiny.en", name, device=device)


def test_a_gpu_that_the_kernels_do_not_run_on_is_refused(name: str, fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(GTX_1080)
    message = r"GTX 1080 \(cuda:0, sm_61\) is older than .*; use --impl cuda or --device cpu"
    with pytest.raises(ImplementationUnavailableError, match=message):
        loaded.load("tiny.en", name, device="cuda")


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_a_gpu_that_max_does_not_find_is_refused(name: str, fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(H200)
    with pytest.raises(ImplementationUnavailableError, match="MAX finds 0 GPUs, and no cuda, "):
        loaded.load("tiny.en", name, device="cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LoadOptions(device="gpu"), "do not run on gpu; use --device cpu, cuda or cuda:N"),
        (LoadOptions(dtype="float16"), "float16 on the CPU; drop --dtype or use float32"),
        (LoadOptions(dtype="int3"), "int3 on the CPU; drop --dtype or use float32"),
    ],
)
def test_what_the_graphs_cannot_do_is_refused(
    name: str, options: LoadOptions, message: str
) -> None:
    chosen = registry.implementation_class(name)
    with pytest.raises(ImplementationUnavailableError, match=re.escape(message)):
        chosen.load(loaded.checkpoint("tiny.en"), options)


def test_an_unknown_dtype_is_refused_before_compiling(name: str) -> None:
    chosen, options = registry.implementation_class(name), LoadOptions(dtype="int8")
    with pytest.raises(ImplementationUnavailableError, match="int8 on a GPU; drop --dtype"):
        chosen.compile(loaded.checkpoint("tiny.en"), options, target="cuda:sm_90a")


def test_a_request_survives_the_way_to_the_compiler() -> None:
    options, weights = LoadOptions(device="cuda:1"), loaded.checkpoint("tiny.en")
    plan = make_plan(weights, options, has_decoder=True, target="cuda:sm_90a")
    (request,) = plan.requests
    assert request.graphs == GPU_GRAPHS
    assert (request.target, request.gpu) == ("cuda:sm_90a", 1)
    assert CompileRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_come_back_out_of_the_layouts_for_a_gpu(dtype: str) -> None:
    from max.dtype import DType

    from implementations.max_graph.gpu.weights import canonical_weights, graph_weights

    tensors = random_tensors(SMALL_DIMS, dtype=np.float32)
    checkpoint = Checkpoint(SMALL_DIMS, tensors, ((0, 0),), Path("made-up"))
    held = dict(canonical_weights(graph_weights(checkpoint, DType[dtype]), SMALL_DIMS))
    assert held.keys() == tensors.keys()
    tolerance = 0 if dtype == "float32" else 2**-8
    for key, tensor in tensors.items():
        np.testing.assert_allclose(held[key], tensor, rtol=tolerance, atol=0)


@pytest.mark.full
@pytest.mark.max
@pytest.mark.parametrize(("device", "index"), [("cuda", b"0"), ("cuda:1", b"1")])
def test_compiles_for_a_gpu_that_is_not_here(
    device: str, index: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path))
    dims = dataclasses.replace(SMALL_DIMS, n_audio_layer=1, n_audio_state=128, n_text_state=128)
    tensors = random_tensors(dims, dtype=np.float32)
    checkpoint = Checkpoint(dims, tensors, ((0, 0),), Path("made-up"))
    options = LoadOptions(device=device)
    registry.implementation_class("full-max").compile(checkpoint, options, target="cuda:sm_90a")
    (compiled,) = (tmp_path / "compiled").glob("*.mef")
    graphs = compiled.read_bytes()
    assert b"sm_90a" in graphs
    assert set(re.findall(rb'"label":"gpu","id":(.)', graphs)) == {index}
    assert all(name.encode() in graphs for name in GPU_GRAPHS)
