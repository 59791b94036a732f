"""Prompts: encoded once by the pipeline's own encoders, with the guidance that its pipeline would use."""

import gc
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.models.cases import Case, assert_same, build, load, watch
from tests.models.encoders import ENCODERS
from tests.models.families import FAMILIES
from worker.models.errors import ModelError
from worker.models.prompts import CAPTIONS

# Of diffusers' own pipelines, and of the tokenizers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

PROMPTS = ("a red cat", "two boats on a lake, at dusk")


@pytest.fixture(scope="module", params=ENCODERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, object, Path]:
    """A pipeline with its encoders, and the folder it is saved to."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(1)
    pipe = build(FAMILIES[request.param], **ENCODERS[request.param]())
    pipe.save_pretrained(folder / "pipeline")
    (folder / "prompts.txt").write_text("# two of them\n" + "\n\n".join(PROMPTS) + "\n")
    return request.param, pipe, folder


@pytest.mark.parametrize("negative", [None, "dull, dark"])
def test_prompts_and_guidance_are_those_of_the_pipeline(
    saved: tuple[str, object, Path], negative: str | None, monkeypatch: pytest.MonkeyPatch
):
    name, pipe, folder = saved
    tiny = FAMILIES[name]
    against = [] if negative is None else [f'negative_prompt = "{negative}"']
    if name == "flux" and negative is not None:
        with pytest.raises(ModelError, match="received negative_prompt; expected only conditions that the network has"):
            load(folder, tiny, 'prompts = "prompts.txt"', *against)
        return
    model = load(folder, tiny, 'prompts = "prompts.txt"', *against)
    given = {} if negative is None else {"negative_prompt": [negative] * 2 if name not in {"pixart", "sana"} else negative}
    arguments = {**tiny.call, "prompt": list(PROMPTS), "output_type": "latent"}
    arguments = {key: value for key, value in arguments.items() if key != "negative_prompt"} | given
    assert model.denoiser.conditions == 2
    assert_same(Case(tiny, pipe, model), watch(pipe, arguments, monkeypatch))


@pytest.mark.parametrize("saved", ["sd", "ltx"], indirect=True)
def test_the_captions_in_the_box_are_used_and_the_encoders_let_go_of(saved: tuple[str, object, Path]):
    name, pipe, folder = saved
    gc.collect()
    kinds = tuple(type(component) for key, component in pipe.components.items() if key.startswith("text_encoder"))
    before = sum(isinstance(thing, kinds) for thing in gc.get_objects())
    model = load(folder, FAMILIES[name])
    assert model.denoiser.conditions == len(CAPTIONS) == 64
    assert sum(isinstance(thing, kinds) for thing in gc.get_objects()) == before


@pytest.mark.parametrize("saved", ["sd"], indirect=True)
def test_the_encoders_are_gone_when_their_memory_is_given_back(saved: tuple[str, object, Path], monkeypatch: pytest.MonkeyPatch):
    """A GPU's memory is given back right after this collection: what is alive then stays with this process."""
    name, pipe, folder = saved
    kind, collect, alive = type(pipe.text_encoder), gc.collect, []

    def collecting(*generation: int) -> int:
        found = collect(*generation)
        alive.append(sum(isinstance(thing, kind) for thing in gc.get_objects()))
        return found

    collecting()
    monkeypatch.setattr(gc, "collect", collecting)
    load(folder, FAMILIES[name])
    assert len(alive) > 1
    assert alive[-1] == alive[0]


@pytest.mark.parametrize("saved", ["sd"], indirect=True)
def test_the_encoders_are_part_of_the_identity(saved: tuple[str, object, Path], tmp_path: Path):
    name, pipe, folder = saved
    tiny = FAMILIES[name]
    prompts = f'prompts = "{folder / "prompts.txt"}"'
    first = load(folder, tiny, prompts).fingerprint
    shutil.copytree(folder / "pipeline", tmp_path / "pipeline")
    assert load(tmp_path, tiny, prompts).fingerprint == first
    assert load(tmp_path, tiny, prompts, 'negative_prompt = "dark"').fingerprint != first
    torch.manual_seed(2)
    changed = build(tiny, **ENCODERS[name]())
    changed.register_modules(unet=pipe.unet)
    changed.save_pretrained(tmp_path / "pipeline")
    assert load(tmp_path, tiny, prompts).fingerprint != first


def test_a_pipeline_without_encoders_asks_for_embeddings(tmp_path: Path):
    build(FAMILIES["sd3"]).save_pretrained(tmp_path / "pipeline")
    with pytest.raises(ModelError, match=r'a pipeline without text_encoder; .* fix: .*embeddings = "conditions\.safetensors"'):
        load(tmp_path, FAMILIES["sd3"])


@pytest.mark.parametrize("saved", ["sd"], indirect=True)
def test_pickled_encoders_are_refused(saved: tuple[str, object, Path], tmp_path: Path):
    name, pipe, _ = saved
    pipe.save_pretrained(tmp_path / "pipeline")
    weights = next((tmp_path / "pipeline/text_encoder").glob("*.safetensors"))
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a pickle that would run code"):
        load(tmp_path, FAMILIES[name])


@pytest.mark.parametrize("saved", ["sd"], indirect=True)
@pytest.mark.parametrize("keys", [[], ['variant = "fp16"']])
def test_encoders_of_a_variant_are_found(saved: tuple[str, object, Path], tmp_path: Path, keys: list[str]):
    name, pipe, folder = saved
    pipe.save_pretrained(tmp_path / "pipeline", variant="fp16")
    assert {path.suffixes[0] for path in tmp_path.glob("pipeline/*/*.safetensors")} == {".fp16"}
    prompts = f'prompts = "{folder / "prompts.txt"}"'
    plain, variant = load(folder, FAMILIES[name], prompts), load(tmp_path, FAMILIES[name], prompts, *keys)
    torch.testing.assert_close(variant.denoiser.given.given, plain.denoiser.given.given)


@pytest.mark.parametrize("saved", ["sd"], indirect=True)
@pytest.mark.parametrize(
    ("component", "kind"), [("tokenizer", "AutoTokenizer"), ("text_encoder", "AutoModel"), ("text_encoder", "RagRetriever")]
)
def test_only_encoders_of_the_families_are_loaded(saved: tuple[str, object, Path], tmp_path: Path, component: str, kind: str):
    name, _, folder = saved
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    index = tmp_path / "pipeline/model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {component: ["transformers", kind]}))
    with pytest.raises(ModelError, match=rf"received {component} of class transformers\.{kind}; expected an encoder of the families'"):
        load(tmp_path, FAMILIES[name])


@pytest.mark.parametrize("saved", ["sd"], indirect=True)
def test_code_beside_an_encoder_never_runs(saved: tuple[str, object, Path], tmp_path: Path):
    name, _, folder = saved
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for component, file in (("text_encoder", "config.json"), ("tokenizer", "tokenizer_config.json"), ("unet", "config.json")):
        code = tmp_path / "pipeline" / component / "code.py"
        code.write_text(f"open({str(tmp_path / 'tripped')!r}, 'w')\n")
        config = code.with_name(file)
        classes = {auto: "code.Mine" for auto in ("AutoModel", "AutoConfig", "AutoTokenizer")}
        config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": classes}))
    assert load(tmp_path, FAMILIES[name], 'prompts = "prompts.txt"').denoiser.conditions == 2
    assert not (tmp_path / "tripped").exists()
