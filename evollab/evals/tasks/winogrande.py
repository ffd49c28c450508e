"""WinoGrande: whom does the sentence mean? (Sakaguchi et al. 2019, 1907.10641). The test labels are
secret, so the validation set is what everybody reports."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.task import Task, chosen, text, text_list


def texts(row: Row) -> BenchmarkItem:
    """The sentence filled in rightly, of both common forms: sentence with a blank, option1, option2,
    answer "1" or "2"; and two context_options, continuation, gold."""
    if "sentence" in row.fields:
        answer = text(row.fields, "answer")
        if answer not in ("1", "2"):
            raise BadFields(f"answer is {answer!r}; expected 1 or 2")
        sentence = text(row.fields, "sentence").replace("_", text(row.fields, f"option{answer}"))
    else:
        begun = chosen(text_list(row.fields, "context_options"), row.fields.get("gold"))
        sentence = f"{begun} {text(row.fields, 'continuation')}"
    return BenchmarkItem(str(row.number), sentence)


TASK = Task(
    name="winogrande",
    about="1,267 sentences with a blank for one of two, the validation set",
    licence="CC-BY",
    hub=("allenai/winogrande/winogrande_xl:validation",),
    files=("winogrande", "winogrande_xl", "winogrande_validation"),
    texts=texts,
    home="winogrande.allenai.org",
)
