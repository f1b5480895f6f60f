"""Settings in layers: what is typed, what wins, what may change, and what a mistake is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness import config as configs
from harness import registry
from harness.config import LoraConfig, RunConfig, changed_field, merge, parse_sets, validate
from harness.errors import HarnessError, near_names
from harness.experiment import resolve_config

BUILT_IN = ("dno", "iterative-dpo", "offline-dpo", "self-rewarding", "sft")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["seed=3"], {"seed": 3}),
        (["data.reuse=yes", "data.train=f"], {"data": {"reuse": True, "train": "f"}}),
        (["seed=1", "seed=2"], {"seed": 2}),
        (["method.replay=[0.3, 0.1]"], {"settings": {"replay": [0.3, 0.1]}}),
        (["method.reference=initial"], {"settings": {"reference": "initial"}}),
        (["train.lora=null"], {"train": {"lora": None}}),
        (["train.lora={r: 2, alpha: 4}"], {"train": {"lora": {"r": 2, "alpha": 4}}}),
        (["data.train=a=b.jsonl"], {"data": {"train": "a=b.jsonl"}}),
        ([" data . reuse =true"], {"data": {"reuse": True}}),
    ],
)  # fmt: skip
def test_sets_become_nested_values(texts: list[str], expected: dict[str, Any]) -> None:
    assert parse_sets(texts) == expected


@pytest.mark.parametrize(
    "texts",
    [
        *(["seed"], ["=1"], ["a..b=1"], [".=1"], ["data.=1"], ["a=[1"], ["a=2024-13-45"]),
        *(["a=1", "a.b=1"], ["a.b=1", "a.b.c=1"]),
    ],
)
def test_a_malformed_set_is_quoted_in_the_error(texts: list[str]) -> None:
    with pytest.raises(HarnessError, match=re.escape(f"--set {texts[-1]}: ")):
        parse_sets(texts)


def test_later_layers_win_field_by_field_and_no_layer_is_changed() -> None:
    low = {"seed": 1, "train": {"epochs": 1, "lora": {"r": 8, "alpha": 16}}}
    high = {"train": {"lora": {"r": 4}}}
    assert merge(low, {}, high) == {
        "seed": 1,
        "train": {"epochs": 1, "lora": {"r": 4, "alpha": 16}},
    }
    assert low["train"] == {"epochs": 1, "lora": {"r": 8, "alpha": 16}}
    # a group replaces a plain value and the other way round
    assert merge(low, {"train": {"lora": None}})["train"] == {"epochs": 1, "lora": None}
    assert merge({"lora": None}, {"lora": {"r": 4}}) == {"lora": {"r": 4}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sampling": {"temprature": 1}}, ["sampling.temprature", "sampling.temperature"]),
        ({"train": {"lora": {"rank": 1}}}, ["train.lora.rank", "train.lora.r"]),
        ({"sampling": {"temperature": "hot"}}, ["sampling.temperature", "'hot'"]),
        ({"sampling": {"temperature": float("inf")}}, ["sampling.temperature", "inf"]),
        ({"train": {"learning_rate": 0}}, ["train.learning_rate", "greater than 0"]),
        ({"data": 3}, ["'data' is a group", "data.train", "data.reuse"]),
        ({"iterations": 0}, ["iterations", "greater than 0"]),
        ({"device": "tpu"}, ["device", "'cuda'"]),
    ],
)
def test_a_wrong_value_is_named_with_its_dotted_field(
    values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(HarnessError) as error:
        validate(RunConfig, {"method": "m", **values})
    assert all(word in str(error.value) for word in words), error.value


def test_near_names_come_first_else_all_of_them() -> None:
    assert near_names("refrence", ["longer", "reference"]) == "did you mean 'reference'?"
    assert near_names("zzz", ["b", "a"]) == "known: a, b."


# --- presets and resolution -------------------------------------------------------------------


@pytest.mark.parametrize("preset", configs.preset_names())
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_preset_suits_every_method(preset: str, name: str) -> None:
    config, plugin, method = resolve_config(name, {}, preset)
    assert (config.method, config.preset, method.name, plugin.name) == (name, preset, name, name)
    # nothing is left unsaid in what is saved, and it says the same when read back
    assert None not in (
        config.train.learning_rate,
        config.train.epochs,
        config.train.batch_size,
        config.settings.get("samples", 1),
    )
    assert config.settings.keys() == registry.method_fields(plugin)
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_built_in_methods_are_the_registered_ones() -> None:
    assert set(BUILT_IN) <= set(registry.names(registry.METHODS))
    assert {"laptop", "quickstart", "tiny"} <= set(configs.preset_names())


def test_default_then_preset_then_file_then_set(tmp_path: Path) -> None:
    def resolved(file: str = "", *sets: str) -> RunConfig:
        path = tmp_path / "f.yaml"
        path.write_text(file, "utf-8")
        return resolve_config("dno", {}, "tiny", path if file else None, sets)[0]

    # method's default: beta; preset: samples, batch_size; neither: kl (the config's own default)
    plain = resolved()
    assert plain.settings["beta"] == 0.1
    assert (plain.settings["samples"], plain.train.batch_size) == (3, 8)
    file = "method: {samples: 4, beta: 0.2}\ntrain: {batch_size: 4, epochs: 2}\n"
    filed = resolved(file)
    assert (filed.settings["samples"], filed.settings["beta"]) == (4, 0.2)
    assert (filed.train.batch_size, filed.train.epochs) == (4, 2)
    typed = resolved(file, "method.samples=6", "train.batch_size=2")
    assert (typed.settings["samples"], typed.settings["beta"]) == (6, 0.2)
    assert (typed.train.batch_size, typed.train.epochs) == (2, 2)
    assert typed.train.learning_rate == plain.train.learning_rate  # the preset's all along


def test_the_commands_options_go_over_everything() -> None:
    config, *_ = resolve_config("sft", {"seed": 5}, "tiny", sets=("seed=4", "data.reuse=true"))
    assert (config.seed, config.data.reuse) == (5, True)


def test_lora_chooses_the_methods_learning_rate_for_it() -> None:
    method = resolve_config("dno", {}, "tiny")[2]
    unset = ("train.learning_rate=null",)
    full, *_ = resolve_config("dno", {}, "tiny", sets=unset)
    lora, *_ = resolve_config("dno", {}, "tiny", sets=(*unset, "train.lora.r=4"))
    assert full.train.learning_rate == method.defaults.learning_rate
    assert lora.train.learning_rate == method.defaults.lora_learning_rate
    assert lora.train.lora == LoraConfig(r=4, alpha=32)


def test_a_presets_method_settings_pass_by_the_methods_without_them_but_a_users_must_exist() -> (
    None
):
    assert "samples" in configs.preset("tiny")["settings"]
    assert resolve_config("sft", {}, "tiny")[0].settings == {}
    with pytest.raises(HarnessError, match="'sft' has no setting 'samples'"):
        resolve_config("sft", {}, "tiny", sets=("method.samples=3",))


@pytest.mark.parametrize("sets", [("method=sft",), ("preset=laptop",)])
def test_settings_cannot_contradict_the_command(sets: tuple[str, ...]) -> None:
    with pytest.raises(HarnessError, match=r"The settings say .*, the command says"):
        resolve_config("dno", {}, "tiny", sets=sets)


@pytest.mark.parametrize("value", [".nan", ".inf"])
def test_a_methods_settings_are_finite(value: str) -> None:
    with pytest.raises(HarnessError, match=r"method\.beta.*finite"):
        resolve_config("dno", {}, "tiny", sets=(f"method.beta={value}",))


# --- what may change between two starts -------------------------------------------------------

BASE = RunConfig(method="m", settings={"beta": 0.1, "samples": 4})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"iterations": 9},
        {"device": "cpu"},
        {"sampling": {"batch_size": 1}},
        {"train": {"micro_batch_tokens": 1}},
    ],
)
def test_cost_and_extent_may_change(change: dict[str, Any]) -> None:
    assert changed_field(BASE, validate(RunConfig, merge(BASE.model_dump(), change))) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 1}, ("seed", 0, 1)),
        ({"sampling": {"batch_size": 1, "top_p": 0.5}}, ("sampling.top_p", 0.95, 0.5)),
        ({"train": {"lora": {"r": 4}}}, ("train.lora", None, LoraConfig(r=4))),
        ({"settings": {"beta": 0.2}}, ("settings.beta", 0.1, 0.2)),
        ({"settings": {"tau": None}}, ("settings.tau", None, None)),
        ({"judge": {"eval": "longer"}}, ("judge.eval", None, "longer")),
    ],
)
def test_whatever_else_changes_is_named(change: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert changed_field(BASE, validate(RunConfig, merge(BASE.model_dump(), change))) == expected


def test_a_nested_group_names_its_own_field() -> None:
    old = validate(RunConfig, {"method": "m", "train": {"lora": {"r": 4}}})
    new = validate(RunConfig, {"method": "m", "train": {"lora": {"r": 8}}})
    assert changed_field(old, new) == ("train.lora.r", 4, 8)


def test_every_setting_has_one_dotted_name() -> None:
    names = configs.field_names()
    assert len(names) == len(set(names))
    assert {"seed", "sampling.top_p", "train.lora", "train.lora.r", "benchmark.name"} <= set(names)
    assert "train" not in names
