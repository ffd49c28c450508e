"""Launching: DeepSpeed's settings as it reads them, commands, and runs of two processes beside runs of one."""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from evollab import cli
from evollab.records import EvolError
from evollab.train import launch as launching
from evollab.train.dpo import DpoOptions, train_dpo
from evollab.train.launch import OFFLOADS, LaunchOptions, check_joined, command, deepspeed_config, launch, ranks
from evollab.train.metrics import own_rows, read_metrics
from evollab.train.sft import SftOptions, train_sft
from tests import tiny

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)
WITH_DEEPSPEED = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: pip install 'evollab[deepspeed]'"
)
SHAPES = [(zero, offload) for zero in (1, 2, 3) for offload in OFFLOADS if zero == 3 or offload != "all"]


# What is written


@WITH_DEEPSPEED
@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize(("zero", "offload"), SHAPES)
def test_deepspeed_reads_every_setting(zero: int, offload: str, gpu: bool, tmp_path: Path) -> None:
    """With what is "auto" filled in as transformers' Trainer does it."""
    import torch
    from deepspeed.runtime.config import DeepSpeedConfig
    from transformers import TrainingArguments
    from transformers.integrations import deepspeed

    path = tmp_path / "deepspeed.json"
    path.write_bytes(orjson.dumps(deepspeed_config(zero, offload, gpu=gpu)))
    arguments = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, gradient_accumulation_steps=2, bf16=True, use_cpu=True,
        report_to=[], max_grad_norm=0.5,
    )  # fmt: skip
    make: Any = deepspeed.HfTrainerDeepSpeedConfig
    filled = make(str(path))
    try:
        filled.trainer_config_process(arguments)
        filled.trainer_config_finalize(arguments, tiny.model(tiny.tokenizer()), 10)
    finally:
        forget: Any = deepspeed.unset_hf_deepspeed_config
        forget()
    assert b'"auto"' not in orjson.dumps(filled.config)
    read: Any = DeepSpeedConfig(filled.config)
    assert read.zero_optimization_stage == zero
    assert (read.train_micro_batch_size_per_gpu, read.gradient_accumulation_steps, read.train_batch_size) == (4, 2, 8)
    assert read.bfloat16_config.enabled
    assert read.gradient_clipping == 0.5
    moved, weights = read.zero_config.offload_optimizer, read.zero_config.offload_param
    assert (moved is not None and moved.device == "cpu") == (offload != "none")
    assert (weights is not None and weights.device == "cpu") == (offload == "all")
    assert read.zero_config.overlap_comm is gpu, "on processors it hangs"
    assert bool(read.zero_config.gather_16bit_weights_on_model_save) == (zero == 3)
    assert not torch.distributed.is_initialized()


def test_commands_for_one_machine_and_several() -> None:
    words = ["train", "sft", "--data", "my rows.jsonl"]
    one = command(LaunchOptions(gpus=8), words, 0)
    assert one[:4] == [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    assert one[4:] == ["--nproc-per-node", "8", "-m", "evollab.cli", *words]
    four = LaunchOptions(gpus=8, nodes=4, node_rank=2, main="[fd00::1]:29500")
    place = ["--nnodes", "4", "--node-rank", "2", "--master-addr", "fd00::1", "--master-port", "29500"]
    assert command(four, words, 2)[3:-8] == place
    found = ranks(four)
    assert [one["RANK"] for one in found] == [str(n) for n in range(16, 24)]
    assert [one["LOCAL_RANK"] for one in found] == [str(n) for n in range(8)]
    assert {(one["WORLD_SIZE"], one["MASTER_ADDR"], one["MASTER_PORT"]) for one in found} == {
        ("32", "fd00::1", "29500")
    }
    assert {one["MASTER_ADDR"] for one in ranks(LaunchOptions(gpus=2))} == {"127.0.0.1"}


def test_dry_run_writes_and_prints_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> int:
        raise AssertionError("it ran")

    monkeypatch.setattr(launching, "run_all", none)
    out = tmp_path / "a folder"
    asked = [
        "train",
        "sft",
        "--base",
        "some/base",
        "--data",
        "d.jsonl",
        "--out",
        str(out),
        "--gpus",
        "8",
        "--zero",
        "3",
    ]
    more = ["--nodes", "2", "--node-rank", "1", "--main", "10.0.0.1:29500", "--offload", "all", "--dry-run"]
    assert cli.main([*asked, *more]) == 0
    told = capsys.readouterr()
    assert told.out == (out / "launch" / "command.txt").read_text()
    lines = [shlex.split(line) for line in told.out.splitlines()]
    settings = out / "launch" / "deepspeed.json"
    assert [line[0] for line in lines] == [f"EVOLLAB_DEEPSPEED={settings}"] * 2
    for number, line in enumerate(lines):
        assert line[4:8] == ["--nnodes", "2", "--node-rank", str(number)]
        assert line[line.index("evollab.cli") + 1 :] == [
            *asked, "--nodes", "2", "--node-rank", str(number), "--main", "10.0.0.1:29500", "--offload", "all"
        ]  # fmt: skip
    assert orjson.loads(settings.read_bytes()) == deepspeed_config(3, "all")
    assert sorted(path.name for path in out.iterdir()) == ["launch"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gpus": 0}, "--gpus 0: expected 1 or more"),
        ({"zero": 4}, "--zero 4: expected 0, 1, 2 or 3"),
        ({"offload": "disk", "zero": 3}, "--offload 'disk': expected none, optimizer, all"),
        ({"offload": "all"}, "--zero is 0"),
        ({"offload": "all", "zero": 2}, "--zero 2 does not share"),
        ({"nodes": 2, "node_rank": 2, "main": "a:1"}, "--node-rank 2: expected 0 to 1"),
        ({"nodes": 2, "main": "somewhere"}, "--main 'somewhere': expected HOST:PORT"),
        ({"nodes": 2, "main": "host:99999"}, "expected HOST:PORT"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(EvolError, match=message):
        LaunchOptions(**wrong)


def test_what_can_not_be_launched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_gpus", lambda: 2)
    with pytest.raises(EvolError, match="--gpus 3: this machine has 2"):
        launch(LaunchOptions(gpus=3), ["train"], tmp_path)
    with pytest.raises(EvolError, match="stdin"):
        launch(LaunchOptions(gpus=2), ["train", "--data", "-"], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(EvolError, match="can't be written"):
        launch(LaunchOptions(gpus=2), ["train"], tmp_path / "file")


@pytest.mark.parametrize(("seen", "wanted"), [(None, "0,1"), ("5,3,1,0", "5,3")])
def test_processes_see_no_gpu_that_none_is_for(
    seen: str | None, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(launching, "_gpus", lambda: 4)
    monkeypatch.setattr(launching, "run_all", lambda words, each, logs, first: given.extend(each) or 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert launch(LaunchOptions(gpus=2), ["train"], tmp_path) == 0
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == [wanted] * 2


def test_another_launcher_must_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    check_joined(LaunchOptions())
    check_joined(LaunchOptions(gpus=2, nodes=2, main="a:1"))
    with pytest.raises(EvolError, match="made 4 processes"):
        check_joined(LaunchOptions(gpus=2))
    with pytest.raises(EvolError, match="--zero 3: the launcher that started this gave settings for 0"):
        check_joined(LaunchOptions(zero=3))
    settings = tmp_path / "deepspeed.json"
    monkeypatch.setenv(launching.DEEPSPEED, str(settings))
    with pytest.raises(EvolError, match="no settings of DeepSpeed"):
        check_joined(LaunchOptions(zero=3))
    settings.write_bytes(orjson.dumps(deepspeed_config(3)))
    check_joined(LaunchOptions(zero=3))


def test_rows_that_do_not_come_out_even_are_repeated() -> None:
    """As the how-to tells: of 13 rows in batches of 8, two processes train the first 3 of the epoch twice."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    shards = [
        list(BatchSamplerShard(BatchSampler(SequentialSampler(range(13)), 4, False), 2, rank)) for rank in range(2)
    ]
    assert shards == [[[0, 1, 2, 3], [8, 9, 10, 11]], [[4, 5, 6, 7], [12, 0, 1, 2]]]


@pytest.mark.parametrize(("remainder", "counted"), [(5, [4, 1]), (3, [3, 0]), (0, [4, 4])])
def test_rows_that_are_repeated_count_once_where_nothing_is_learnt(remainder: int, counted: list[int]) -> None:
    """Of the last batches of two processes, four rows each, as accelerate fills them (see the test before)."""
    state = SimpleNamespace(end_of_dataloader=True, remainder=remainder)
    each = [SimpleNamespace(gradient_state=state, process_index=rank) for rank in range(2)]
    assert [own_rows(one, 4) for one in each] == counted
    state.end_of_dataloader = False
    assert [own_rows(one, 4) for one in each] == [4, 4]


# What is trained

_SFT: dict[str, Any] = {"epochs": 12.0, "lr": 5e-3, "batch": 8, "max_length": 256, "samples": 0, "save_every": 1000}
_DPO: dict[str, Any] = {
    "epochs": 2.0,
    "lr": 1e-3,
    "batch": 8,
    "max_length": 256,
    "samples": 0,
    "eval_share": 0.3,
    "save_every": 1,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launch")
    tiny.checkpoint(folder / "base")
    tiny.write_rows(folder / "sums.jsonl", tiny.sums(16))
    tiny.write_rows(folder / "others.jsonl", tiny.sums(21)[16:])  # no even number for two processes
    pairs = [
        {"prompt": row["instruction"], "chosen": row["output"], "rejected": "I do not know."} for row in tiny.sums(24)
    ]
    tiny.write_rows(folder / "pairs.jsonl", pairs)
    return folder


def start(place: Path, kind: str, out: str, settings: dict[str, Any], *more: str) -> subprocess.Popen[str]:
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    data = str(place / ("sums.jsonl" if kind == "sft" else "pairs.jsonl"))
    more = (*more, "--eval-data", str(place / "others.jsonl")) if kind == "sft" else more
    words = ["train", kind, "--base", str(place / "base"), "--data", data, "--out", str(place / out), *flags, *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "evollab.cli", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment,
    )  # fmt: skip


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=400)
    return child.returncode, out, err


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder) if "loss" in line]


def curves(out: Path) -> dict[str, list[float]]:
    """Losses of training and of what is held out, and how many of the pairs held out are in order."""
    lines = read_metrics(out)
    names = ("loss", "eval_loss", "eval_pair_accuracy", "eval_margin")
    return {name: [line[name] for line in lines if name in line] for name in names}


@pytest.fixture(scope="module")
def one_process(place: Path) -> dict[str, dict[str, list[float]]]:
    base, held_out = str(place / "base"), str(place / "others.jsonl")
    train_sft(SftOptions(base=base, data=str(place / "sums.jsonl"), eval_data=held_out, **_SFT), place / "sft-one")
    train_dpo(DpoOptions(base=base, data=str(place / "pairs.jsonl"), **_DPO), place / "dpo-one")
    return {kind: curves(place / f"{kind}-one") for kind in ("sft", "dpo")}


def same(out: Path, wanted: dict[str, list[float]]) -> None:
    """The model is there, and the losses are those of one process."""
    assert (out / "model" / "model.safetensors").is_file()
    assert orjson.loads((out / "step.json").read_bytes())["config"]["processes"] == 2
    found = curves(out)
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, abs=2e-5), name
    assert wanted["eval_loss"]
    assert wanted["loss"][-1] < wanted["loss"][0]


def test_stopped_and_gone_on_two_processes_learn_as_one(
    place: Path, one_process: dict[str, dict[str, list[float]]]
) -> None:
    out = place / "sft-two"
    child = start(place, "sft", out.name, _SFT, "--gpus", "2")
    while child.poll() is None and not losses(out):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    code, said, noise = ended(child)
    assert code == 130, noise
    assert "the same command goes on" in said
    assert "Traceback" not in noise
    steps = len(losses(out))
    assert 0 < steps < len(one_process["sft"]["loss"])
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"checkpoint-{steps}"]
    with pytest.raises(EvolError, match="processes was 2, now 1"):
        train_sft(SftOptions(base=str(place / "base"), data=str(place / "sums.jsonl"), **_SFT), out)
    code, said, noise = ended(start(place, "sft", out.name, _SFT, "--gpus", "2"))
    assert code == 0, noise
    assert said.count("tokens trained") == 1
    same(out, one_process["sft"])


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("sft", ["--zero", "3"], marks=WITH_DEEPSPEED),
        pytest.param("dpo", ["--zero", "3"], marks=WITH_DEEPSPEED),
    ],
    ids=["sft-zero3", "dpo-zero3"],
)
def test_two_processes_learn_as_one(
    kind: str, more: list[str], place: Path, one_process: dict[str, dict[str, list[float]]]
) -> None:
    out = place / f"{kind}-two{''.join(more)}"
    code, _, noise = ended(start(place, kind, out.name, _SFT if kind == "sft" else _DPO, "--gpus", "2", *more))
    assert code == 0, noise
    same(out, one_process[kind])
    if more:
        assert orjson.loads((out / "step.json").read_bytes())["config"]["zero"] == 3


def test_a_mistake_is_told_once(place: Path) -> None:
    tiny.write_rows(place / "bad.jsonl", [{"instruction": "Add 1 and 2.", "output": "3"}] * 3 + [{"colour": "red"}])
    child = start(place, "sft", "bad", {**_SFT, "data": place / "bad.jsonl"}, "--gpus", "2", "--strict")
    code, said, noise = ended(child)
    assert (code, said) == (2, "")
    lines = noise.strip().splitlines()
    assert lines[0] == "launching 2 processes"
    assert [line.split(": ")[0] for line in lines[1:]] == ["error", "hint"], noise
