"""HellaSwag: how does it go on? (Zellers et al. 2019, 1905.07830). The test labels are secret, so the
validation set is what everybody reports."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.task import Task, chosen, identity, text, text_list


def texts(row: Row) -> BenchmarkItem:
    """Context and right ending are the item: the wrong endings are made up by a model."""
    endings = text_list(row.fields, "endings", "choices")
    label = row.fields.get("label", row.fields.get("gold"))
    if isinstance(label, str):
        if not (label.isascii() and label.isdigit()):
            raise BadFields(f"label is {label!r}; expected a digit")
        label = int(label[:3])
    context = text(row.fields, "ctx", "query")
    return BenchmarkItem(identity(row, "ind"), f"{context} {chosen(endings, label)}")


TASK = Task(
    name="hellaswag",
    about="10,042 beginnings to be continued, the validation set",
    licence="MIT",
    hub=("Rowan/hellaswag:validation",),
    files=("hellaswag", "hellaswag_val", "hellaswag_validation"),
    texts=texts,
    home="github.com/rowanz/hellaswag",
)
