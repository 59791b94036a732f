"""The registry: what can be asked for, and that an id never becomes an import or a path."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.models.errors import ModelError
from worker.models.registry import Registry

GOOD = """
[models.mine]
kind = "factory"
factory = "tests.models.brought:good"
title = "Mine"
[models.mine.arguments]
width = 2.0
"""


def test_built_in_models():
    cards = {card.id: card for card in Registry(None).cards()}
    assert list(cards) == ["digits", "fashion", "mixture", "gaussian"]
    assert (cards["mixture"].shape, cards["gaussian"].shape) == ((2,), (512,))
    assert cards["gaussian"].kind == "ve"


@pytest.mark.parametrize("model_id", ["mixture", "gaussian"])
def test_analytic_models_load_and_have_data(model_id: str):
    model = Registry(None).load(model_id)
    assert model.data is not None
    assert len(model.fingerprint) == 64
    assert model.fingerprint == {card.id: card for card in Registry(None).cards()}[model_id].fingerprint


def test_the_models_file_adds_models(models_file: Callable[[str], Path]):
    registry = Registry(models_file(GOOD))
    assert registry.ids == ["digits", "fashion", "mixture", "gaussian", "mine"]
    model = registry.load("mine")
    assert (model.title, model.denoiser.shape, model.process.kind) == ("Mine", (2,), "ve")


def test_cards_run_no_foreign_code(tmp_path: Path, models_file: Callable[[str], Path]):
    (tmp_path / "ays_tripwire.py").write_text(f"open({str(tmp_path / 'tripped')!r}, 'w')\ndef make(): ...\n")
    registry = Registry(models_file('[models.trap]\nkind = "factory"\nfactory = "ays_tripwire:make"\n'))
    assert registry.cards()[-1].title == "trap"
    assert not (tmp_path / "tripped").exists()


def test_a_broken_folder_still_has_a_card(models_file: Callable[[str], Path]):
    registry = Registry(models_file('[models.gone]\nkind = "diffusers"\npath = "gone"\n'))
    assert registry.cards()[-1].shape is None
    with pytest.raises(ModelError, match="expected a local diffusers folder"):
        registry.load("gone")


def test_a_folder_of_the_models_file(copy: Path, models_file: Callable[[str], Path]):
    registry = Registry(models_file(f'[models.net]\nkind = "diffusers"\npath = "{copy.name}"\n'))
    card = registry.cards()[-1]
    assert (card.kind, card.shape, card.prediction_type) == ("vp", (1, 8, 8), "epsilon")
    assert registry.load("net").denoiser.shape == (1, 8, 8)


def test_an_entry_may_name_a_published_table(copy: Path, models_file: Callable[[str], Path]):
    entries = GOOD.replace('title = "Mine"', 'published = "deepfloyd-if"')
    entries += f'[models.net]\nkind = "diffusers"\npath = "{copy.name}"\npublished = "stable-diffusion-xl"\n'
    registry = Registry(models_file(entries + '[models.gone]\nkind = "diffusers"\npath = "gone"\npublished = "stable-diffusion-1.5"\n'))
    assert [card.published for card in registry.cards()[-3:]] == ["deepfloyd-if", "stable-diffusion-xl", "stable-diffusion-1.5"]
    assert [registry.load(name).published for name in ("mine", "net", "mixture")] == ["deepfloyd-if", "stable-diffusion-xl", None]


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "nope",
        "tests.models.brought:good",
        "os:system",
        "os.system",
        "../digits",
        "/etc/passwd",
        "digits/../digits",
        "Digits",
        "digits\n",
    ],
)
def test_no_other_id_is_looked_at(model_id: str, models_file: Callable[[str], Path]):
    registry = Registry(models_file(GOOD))
    before = set(sys.modules)
    with pytest.raises(ModelError, match="expected one of digits, fashion, mixture, gaussian, mine; fix: "):
        registry.load(model_id)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = 3", "received models = 3; expected a table"),
        ("[models", "expected a readable TOML file"),
        ("[other]\n", "received the key other; expected only models"),
        ('[models.x]\nkind = "pickle"\n', 'expected kind = "factory" or kind = "diffusers"'),
        ('[models.x]\nfactory = "a:b"\n', "received kind = None"),
        ('[models.x]\nkind = "factory"\n', "received no factory"),
        ('[models.x]\nkind = "factory"\nfactory = "a:b"\npath = "x"\n', "received the key path"),
        ('[models.x]\nkind = "factory"\nfactory = "a:b"\nargumants = {}\n', "received the key argumants"),
        ('[models.x]\nkind = "factory"\nfactory = "a.b"\n', 'expected "package.module:function"'),
        ('[models.x]\nkind = "factory"\nfactory = "a:b()"\n', 'expected "package.module:function"'),
        ('[models.x]\nkind = "factory"\nfactory = "../a:b"\n', 'expected "package.module:function"'),
        ('[models.x]\nkind = "factory"\nfactory = "a:b"\narguments = 1\n', "received arguments = 1; expected a table"),
        ('[models.x]\nkind = "diffusers"\npath = "a/../../b"\n', "expected a path that does not climb"),
        ('[models.x]\nkind = "diffusers"\npath = "a"\npublished = ""\n', "received published = ''; expected a text"),
        ('[models.x]\nkind = "diffusers"\npath = 1\n', "received path = 1"),
        ('[models."../x"]\nkind = "diffusers"\npath = "a"\n', "received the id '../x'"),
        ('[models.digits]\nkind = "diffusers"\npath = "a"\n', "received an id that is built in"),
    ],
)
def test_mistakes_in_the_models_file(models_file: Callable[[str], Path], text: str, message: str):
    with pytest.raises(ModelError) as caught:
        Registry(models_file(text))
    assert message in str(caught.value)
    assert "fix: " in str(caught.value)


def test_a_missing_models_file(tmp_path: Path):
    with pytest.raises(ModelError, match="correct the file or the path in AYS_MODELS"):
        Registry(tmp_path / "gone.toml")


def test_a_step_distilled_model_is_refused_with_the_reason(copy: Path, models_file: Callable[[str], Path]):
    text = f'[models.fast]\nkind = "diffusers"\npath = "{copy}"\nsteps_distilled = true\n'
    registry = Registry(models_file(text))
    assert "fast" in {card.id for card in registry.cards()}
    with pytest.raises(
        ModelError, match=r"model 'fast': received a step-distilled checkpoint .* fix: sample it with the scheduler and steps"
    ):
        registry.load("fast")
    with pytest.raises(ModelError, match="received published beside steps_distilled = true"):
        Registry(models_file(text + 'published = "stable-diffusion-xl"\n'))
