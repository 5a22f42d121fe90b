"""The model for those who name none, and the models that are here in errors of those who do."""

from pathlib import Path

import pytest

from weights import default_model, resolve
from weights.default_model import choose_default
from weights.errors import ModelNotFoundError, WeightsError
from weights.models import NAMED_MODELS


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Names of the models that are here; others cannot be fetched."""
    names: set[str] = set()

    def find(name: str, **_: object) -> Path:
        if name not in names:
            raise ModelNotFoundError(f"{name} cannot be fetched")
        return tmp_path / name

    monkeypatch.setattr(resolve, "resolve", find)
    monkeypatch.setattr(resolve, "names_here", lambda _folder: tuple(names))
    return names


def test_turbo_where_it_is_to_be_had(here: set[str]) -> None:
    here |= {"turbo", "tiny.en"}
    noted: list[str] = []
    chosen = choose_default(on_note=noted.append)
    assert (chosen.name, chosen.notes, noted) == ("turbo", (), [])


@pytest.mark.parametrize(
    ("names", "is_english", "best"),
    [
        ({"tiny.en"}, False, "tiny.en"),
        ({"tiny.en", "base"}, False, "base"),
        ({"tiny.en", "base"}, True, "base"),
        ({"medium.en", "tiny"}, False, "tiny"),
        ({"medium.en", "small"}, True, "medium.en"),
        ({"base", "base.en"}, True, "base.en"),
        ({"large-v3", "large-v2", "medium"}, False, "large-v3"),
    ],
)
def test_the_best_that_is_here(
    here: set[str], names: set[str], is_english: bool, best: str
) -> None:
    here |= names
    noted: list[str] = []
    chosen = choose_default(is_english=is_english, on_note=noted.append)
    assert chosen.name == best
    assert chosen.notes == tuple(noted)
    assert f"turbo is neither here nor to be fetched: using {best}" in noted[0]


def test_where_there_is_none_the_error_is_turbos(here: set[str]) -> None:
    assert not here
    with pytest.raises(WeightsError, match="turbo cannot be fetched"):
        choose_default()


def test_every_model_has_its_place_in_the_order() -> None:
    names = {model.name for model in NAMED_MODELS.values()}
    order = default_model._best_first(tuple(names), is_english=False)
    assert set(order) == names


def test_a_named_model_is_not_replaced_and_its_error_lists_what_is_here(tmp_path: Path) -> None:
    for name in ("tiny.en", "small"):
        (tmp_path / f"{name}.pt").touch()
    with pytest.raises(ModelNotFoundError, match=r"here are .*tiny\.en.*small: --model small"):
        resolve.load("medium", model_dir=tmp_path, offline=True)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_names_no_folder(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no model is named"):
        resolve.load(name, offline=True)
