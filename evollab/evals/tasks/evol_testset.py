"""The Evol-Instruct test set: 218 instructions of 29 skills (Xu et al. 2023, 2304.12244)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(identity(row, "idx"), text(row.fields, "Instruction", "instruction"))


TASK = Task(
    name="evol_testset",
    about="218 instructions of 29 skills, with difficulties",
    licence="CC-BY-NC-4.0",
    files=("evol_testset", "wizardlm_testset", "wizardlm_testset_218"),
    texts=texts,
    home="github.com/nlpxucan/WizardLM (WizardLM/data/WizardLM_testset.jsonl)",
)
