"""Files that are not weights, or no longer: one clear line each, at once, and nothing is run."""

import io
import json
import os
import pickle
import pickletools
import resource
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.checkpoints import (
    SMALL_DIMS,
    ctranslate2_bytes,
    ctranslate2_variables,
    random_tensors,
    write_ctranslate2,
    write_huggingface,
    write_openai,
)
from weights.detect import read_checkpoint
from weights.errors import WeightsError
from weights.state_pickle import read_state

DIMS = replace(SMALL_DIMS, n_vocab=300, n_audio_ctx=40, n_text_ctx=20, n_audio_layer=1)


def refusal(path: Path) -> str:
    """The one line that says why `path` is refused."""
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path.parent) in message
    return message.removeprefix(str(path))


def refusal_if_any(path: Path) -> str:
    try:
        read_checkpoint(path)
    except WeightsError as error:
        return str(error)
    return ""


@pytest.fixture(params=["openai", "ctranslate2", "huggingface"])
def intact(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    tensors = random_tensors(DIMS)
    match request.param:
        case "openai":
            return write_openai(tmp_path / "a.pt", DIMS, tensors)
        case "ctranslate2":
            return write_ctranslate2(tmp_path, DIMS, tensors) / "model.bin"
        case _:
            return write_huggingface(tmp_path, DIMS, tensors) / "model.safetensors"


def test_truncated_anywhere(intact: Path) -> None:
    content = intact.read_bytes()
    read_checkpoint(intact)
    for n_bytes in (1, 4, 9, 20, 60, 3000, len(content) // 2, len(content) - 1):
        intact.write_bytes(content[:n_bytes])
        refusal(intact)


def test_flipped_bytes_never_escape(intact: Path) -> None:
    """A damaged header is refused or, where only numbers changed, read: nothing else happens."""
    content = bytearray(intact.read_bytes())
    generator = np.random.default_rng(0)
    n_refused = 0
    for _ in range(150):
        damaged = content.copy()
        for offset in generator.integers(-4000, 4000, size=6):
            damaged[offset] = generator.integers(256)
        intact.write_bytes(damaged)
        message = refusal_if_any(intact)
        assert message.isprintable()
        n_refused += bool(message)
    assert n_refused > 10


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello world", "not a weights file"),
        (b"\0" * 100, "not a weights file"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not a weights file"),
        (b"lmgg" + b"\0" * 60, "whisper.cpp file"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b'{"a": 1}', "not an index"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged PyTorch file"),
        (struct.pack("<Q", 2**60) + b"{}" + b" " * 50, "damaged safetensors"),
        (struct.pack("<Q", 2**63 - 1) + b"{" * 50, "damaged safetensors"),
    ],
)
def test_foreign(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    assert reason in refusal(path)


def test_not_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.pt")
    assert "looked for model.safetensors" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_folder_with_two_candidates(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        write_openai(tmp_path / name, DIMS, random_tensors(DIMS))
    assert "found 2 of them" in refusal(tmp_path)


class TestCTranslate2:
    def write(self, tmp_path: Path, content: bytes) -> Path:
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        return path

    def test_other_models_and_versions(self, tmp_path: Path) -> None:
        other = self.write(tmp_path, ctranslate2_bytes({}, spec="TransformerSpec"))
        assert "TransformerSpec" in refusal(other)
        assert "version 5" in refusal(self.write(tmp_path, ctranslate2_bytes({}, version=5)))

    def test_claims_beyond_the_file(self, tmp_path: Path) -> None:
        head = ctranslate2_bytes({})[:-8]
        name = struct.pack("<H", 2) + b"a\0"
        huge = name + struct.pack("<B3IBI", 3, *[2**32 - 1] * 3, 0, 2**32 - 1)
        many = head + struct.pack("<I", 2**32 - 1)
        for content in (many, head + struct.pack("<I", 1) + huge):
            assert "truncated or damaged" in refusal(self.write(tmp_path, content))

    def test_sizes_that_disagree(self, tmp_path: Path) -> None:
        content = ctranslate2_bytes({"a": np.zeros((2, 3), np.float16)})
        damaged = content.replace(struct.pack("<BI", 4, 12), struct.pack("<BI", 4, 10))
        assert "10 bytes for a shape of [2, 3]" in refusal(self.write(tmp_path, damaged))
        unknown = content.replace(struct.pack("<BI", 4, 12), struct.pack("<BI", 99, 12))
        assert "unknown number format 99" in refusal(self.write(tmp_path, unknown))

    def test_trailing_bytes(self, tmp_path: Path) -> None:
        content = ctranslate2_bytes(ctranslate2_variables(DIMS, random_tensors(DIMS)))
        assert "5 bytes too many" in refusal(self.write(tmp_path, content + b"extra"))

    @pytest.mark.parametrize("shape", [(3,), (2, 2)])
    def test_scale_of_wrong_size(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        variables = ctranslate2_variables(DIMS, random_tensors(DIMS))
        variables["encoder/conv1/weight_scale"] = np.ones(shape, np.float32)
        assert "its scale has shape" in refusal(self.write(tmp_path, ctranslate2_bytes(variables)))

    @pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
    def test_scale_of_no_use(self, tmp_path: Path, scale: float) -> None:
        variables = ctranslate2_variables(DIMS, random_tensors(DIMS))
        variables["encoder/conv1/weight_scale"] = np.full(16, scale, np.float32)
        assert "no usable number" in refusal(self.write(tmp_path, ctranslate2_bytes(variables)))

    def test_empty_and_many_dimensional_variables(self, tmp_path: Path) -> None:
        for shape in ((2, 0), (1,) * 70):
            content = bytearray(ctranslate2_bytes({"a": np.zeros((), np.float16)}))
            at = content.index(struct.pack("<BBI", 0, 4, 2))
            content[at : at + 1] = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
            assert "no tensor of Whisper" in refusal(self.write(tmp_path, bytes(content)))

    def test_fused_rows_that_do_not_split(self, tmp_path: Path) -> None:
        variables = ctranslate2_variables(DIMS, random_tensors(DIMS))
        variables["encoder/layer_0/self_attention/linear_0/bias"] = np.zeros(47, np.float16)
        assert "47 rows" in refusal(self.write(tmp_path, ctranslate2_bytes(variables)))


class TestHuggingFace:
    def test_missing_shard(self, tmp_path: Path) -> None:
        write_huggingface(tmp_path, DIMS, random_tensors(DIMS), n_shards=2)
        (tmp_path / "model-00002-of-00002.safetensors").unlink()
        assert "model-00002-of-00002.safetensors: no such file" in refusal(tmp_path)

    def test_shard_outside_the_folder(self, tmp_path: Path) -> None:
        index = tmp_path / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"a": "../../secret"}}))
        assert "a file outside its folder" in refusal(tmp_path)

    def test_quantised_by_others(self, tmp_path: Path) -> None:
        tensors = random_tensors(DIMS)
        tensors["decoder.ln.bias"] = np.zeros(16, np.int8)
        write_huggingface(tmp_path, DIMS, tensors)
        assert "holds I8 where float" in refusal(tmp_path)


class _Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


class TestPickle:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_code_is_not_run(self, tmp_path: Path, protocol: int) -> None:
        proof = tmp_path / "was run"
        state = {"dims": {}, "model_state_dict": {}, "extra": _Attack(proof)}
        torch.save(state, tmp_path / "a.pt", pickle_protocol=protocol)
        assert "wants to run" in refusal(tmp_path / "a.pt")
        assert not proof.exists()
        torch.load(tmp_path / "a.pt", weights_only=False)
        assert proof.exists(), "the attack itself works"

    @pytest.mark.parametrize(
        "program",
        [
            b"cbuiltins\neval\n(U\x01ptR.",
            b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.",
            b"\x80\x02ctorch\nHalfStorage\n)R.",
            b"\x80\x02ccollections\nOrderedDict\n)\x81.",
            b"\x80\x02ccollections\nOrderedDict\n}b.",
            b"\x80\x02(ios\nsystem\n.",
            b"\x80\x02r\xff\xff\xff\xff.",
            b"\x80\x02]r\xff\xff\xff\xff}",
            b"\x80\x02h\x07.",
            b"\x80\x02t.",
            b"\x80\x02}))s.",
            b"\x80\x02X\xff\xff\xff\xff.",
            b"\x80\x02Q.",
            b"\x80\x02.",
            b"",
            b"}" + b")" + b"\x85" * 300_000 + b"Ns.",
        ],
    )
    def test_unusual_programs(self, program: bytes) -> None:
        with pytest.raises(WeightsError):
            read_state(program)

    def test_ordinary_values(self) -> None:
        value = {"a": [1, 2.5, None, True, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), "x"], 3: {}}
        for protocol in (2, 4):
            assert read_state(pickle.dumps(value, protocol)) == value

    @pytest.mark.parametrize(
        ("shape", "strides", "offset"),
        [
            ((4, 5), (5, 1), 0),
            ((2, 2), (9, 9), 0),
            ((2, 2), (2, 1), 15),
            ((2**40,), (0,), 0),
            ((2**31, 2**31), (0, 0), 0),
            ((-1,), (1,), 0),
            ((2,), (-1,), 1),
            ((2,), (1,), -1),
            ((2, 2), (1,), 0),
        ],
    )
    def test_tensor_beyond_its_storage(
        self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> None:
        """16 numbers cannot be viewed as these."""
        with pytest.raises(WeightsError, match="damaged"):
            read_state(_tensor_program(shape, strides, offset))
        read_state(_tensor_program((4, 4), (4, 1), 0))

    def test_legacy_file_has_a_remedy(self, tmp_path: Path) -> None:
        state = {"a": torch.zeros(3)}
        torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
        assert "save it again" in refusal(tmp_path / "a.pt")


def _tensor_program(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> bytes:
    """The pickle of one tensor over a storage of 16 numbers."""
    storage = pickle.dumps(("storage", None, "0", "cpu", 16), 2)[2:-1]
    storage = storage.replace(b"N", b"ctorch\nHalfStorage\n", 1) + b"Q"
    rest = pickle.dumps((offset, shape, strides, False, {}), 2)[3:-1]
    rest = rest[: rest.rindex(b"t")] if b"t" in rest[-4:] else rest
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR."
    assert list(pickletools.genops(program))
    return program


class TestZip:
    def rewrite(
        self,
        path: Path,
        *,
        compression: int = zipfile.ZIP_STORED,
        drop: str = "no such member",
        cut: str = "no such member",
    ) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", compression) as new:
            for name in old.namelist():
                if not name.endswith(drop):
                    content = old.read(name)
                    new.writestr(name, content[: -2 if name.endswith(cut) else None])
        path.write_bytes(buffer.getvalue())

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return write_openai(tmp_path / "a.pt", DIMS, random_tensors(DIMS))

    def test_packed(self, path: Path) -> None:
        self.rewrite(path, compression=zipfile.ZIP_DEFLATED)
        assert "packed zip file" in refusal(path)

    def test_missing_member(self, path: Path) -> None:
        self.rewrite(path)
        read_checkpoint(path)
        self.rewrite(path, drop="data/7")
        assert "its member data/7 is missing" in refusal(path)

    def test_short_member(self, path: Path) -> None:
        self.rewrite(path, cut="data/7")
        assert "its member data/7 is cut short" in refusal(path)

    def test_other_zip(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("readme.txt", "hello")
        assert "torch.save did not write" in refusal(tmp_path / "a.zip")

    def test_not_a_state_dict(self, tmp_path: Path) -> None:
        for content in (
            [1],
            {"a": 1},
            {"model_state_dict": 3},
            {"dims": 3, "model_state_dict": {}},
        ):
            torch.save(content, tmp_path / "a.pt")
            refusal(tmp_path / "a.pt")


def test_no_torch_and_little_memory(tmp_path: Path) -> None:
    """A file that claims 2**40 numbers is refused in a process that may not have 1 GB."""
    head = ctranslate2_bytes({})[:-8] + struct.pack("<I", 1) + struct.pack("<H", 2) + b"a\0"
    (tmp_path / "a").write_bytes(head + struct.pack("<B2IBI", 2, 2**20, 2**20, 0, 2**32 - 1))
    (tmp_path / "b").write_bytes(struct.pack("<Q", 2**40) + b"{" + b" " * 100)
    program = (
        "import sys; from pathlib import Path; from weights.detect import read_checkpoint\n"
        "from weights.errors import WeightsError\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_checkpoint(Path(path))\n"
        "    except WeightsError: print('refused')\n"
        "print(sorted({'torch', 'whisper', 'max'} & set(sys.modules)))"
    )
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a", tmp_path / "b"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)),
    )
    assert result.stdout == "refused\nrefused\n[]\n", result.stderr
