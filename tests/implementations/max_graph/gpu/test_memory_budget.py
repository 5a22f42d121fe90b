"""Memory plans by sizes alone: no GPU is needed, and none is asked."""

import pytest

from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from implementations.max_graph.gpu.memory_budget import LIMIT, MemoryBudget, MemoryNeed, limited
from weights.dims import ModelDimensions

TINY = ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
TURBO = ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4)
LARGE = ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32)
GIB = 2**30


def budget(gib: float, dims: ModelDimensions = LARGE, dtype: str = "float16") -> MemoryBudget:
    return MemoryBudget(dims, dtype, "cuda:1", int(gib * GIB), 24 * GIB)


def test_large_v3_in_float16_takes_less_than_4_gib_at_batch_1() -> None:
    need = MemoryNeed.of(LARGE, "float16", 1)
    assert need.weights == 2 * (12 * 32 * 1280**2 + 16 * 32 * 1280**2 + 51866 * 1280)
    assert need.weights == pytest.approx(3.07e9, rel=0.01)
    assert need.workspace == 1500 * 1280 * 80 + 3000 * 128 * 6
    assert need.captured == 1500 * 1280 * 2 + 3000 * 128 * 4
    assert need.cross_kv == 2 * 1500 * 32 * 2 * 1280 * 2  # computed, and stored
    assert need.kv_cache == 448 * 32 * 2 * 1280 * 2
    assert need.logits == 4 * 51866
    assert need.total_bytes == pytest.approx(3.80e9, rel=0.01)
    assert MemoryNeed.of(LARGE, "float16", 1, 5).total_bytes < 4.1e9  # five beams


@pytest.mark.parametrize(
    ("dims", "gb"), [(TINY, 0.145), (TURBO, 1.85), (LARGE, 3.80)], ids=["tiny", "turbo", "large"]
)
def test_readme_has_the_sum(dims: ModelDimensions, gb: float) -> None:
    assert MemoryNeed.of(dims, "float16", 1).total_bytes / 1e9 == pytest.approx(gb, rel=0.03)


def test_float32_takes_twice_as_much() -> None:
    half, whole = (MemoryNeed.of(LARGE, dtype, 1).total_bytes for dtype in ("float16", "float32"))
    assert whole == pytest.approx(2 * half, rel=0.01)


@pytest.mark.parametrize(
    ("gib", "n_rows", "has_beams"),
    [(7.5, 5, True), (5.5, 2, True), (3.7, 1, False), (23.5, 25, True)],
)
def test_rows_of_large_v3_by_what_is_free(gib: float, n_rows: int, has_beams: bool) -> None:
    plan = budget(gib)
    plan.check_model_fits()
    assert max(n for n in range(1, 99) if plan.fits(n)) == n_rows
    assert plan.fits(1, 5) is has_beams
    assert plan.fits(1)


def test_a_batch_that_does_not_fit_is_refused() -> None:
    plan = budget(85e9 / GIB)
    plan.check_fits(90)
    with pytest.raises(ImplementationFailedError, match=r"^400 windows at once need about 27\d\."):
        plan.check_fits(400)
    with pytest.raises(ImplementationFailedError, match=r"90 .*, 5 hypotheses .*--batch-size, or"):
        plan.check_fits(90, 5)
    message = (
        r"^5 hypotheses of a window need about 3\.8 GiB, and cuda:1 has 3\.7 GiB free of 24\.0 GiB;"
        r" use a smaller --beam-size or --best-of, or --model$"
    )
    with pytest.raises(ImplementationFailedError, match=message):
        budget(3.7).check_fits(1, 5)


def test_a_model_that_does_not_fit_is_refused() -> None:
    message = (
        r"^this model needs about 3\.5 GiB in float16, and cuda:1 has 3\.0 GiB free of 24\.0 GiB;"
        r" use a smaller --model or --device cpu; nvidia-smi shows who else uses the GPU$"
    )
    with pytest.raises(ImplementationUnavailableError, match=message):
        budget(3).check_model_fits()
    budget(3, TURBO).check_model_fits()
    with pytest.raises(ImplementationUnavailableError, match="in float32"):
        budget(6, dtype="float32").check_model_fits()


def test_unknown_memory_is_tried() -> None:
    plan = MemoryBudget(LARGE, "float16", "cuda:0", None, None)
    plan.check_model_fits()
    plan.check_fits(1000, 5)


def test_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    assert (limited(None), limited(9 * GIB)) == (None, 9 * GIB)
    for text, expected in (
        ("8GiB", 8 * GIB),
        (" 1.5 gib ", 3 * GIB // 2),
        ("6000MB", 6 * 10**9),
        ("4096", 4096),
        ("80GiB", 9 * GIB),  # no more than is free
    ):
        monkeypatch.setenv(LIMIT, text)
        assert limited(9 * GIB) == expected
    assert limited(None) == 80 * GIB
    for text in ("much", "8 GiG", "-1GB", "8GB each"):
        monkeypatch.setenv(LIMIT, text)
        with pytest.raises(ImplementationUnavailableError, match="write 8GiB or 6000MB"):
            limited(9 * GIB)
    monkeypatch.setenv(LIMIT, "3GiB")
    with pytest.raises(ImplementationUnavailableError, match=r"free of .* \(MAXWHISPER_GPU_MEMORY"):
        budget(3).check_model_fits()
