r"""Is a response's answer right? For rewards and filters: one call, with a limit of time inside.

with math_checker() as same_answer:
    same_answer("#### 18", "... The answer is: 18")        # True
    same_answer(r"\boxed{\frac{1}{2}}", r"... $\boxed{0.5}$")    # True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from evollab.evals.math.competition import decide, first_look, read
from evollab.evals.math.markers import boxes, marked
from evollab.evals.math.pool import SECONDS, pool

SameAnswer = Callable[[str, str], bool | None]
"""From a right answer (bare, or a reference solution with a marked one) and a response: whether the response's final
answer is the same. False for a response without an answer, and where algebra failed or ran out of time. None where
`gold` holds no answer to compare with. Never raises for what the texts hold; safe to call from any thread."""


@contextmanager
def math_checker(workers: int = 2, *, seconds: float = SECONDS) -> Iterator[SameAnswer]:
    """Open a checker with its own processes, which start when first needed. seconds: of processor time for a
    comparison. Raises EvolError where math-verify is not installed."""
    with pool(workers, seconds=seconds) as opened:

        def same_answer(gold: str, text: str) -> bool | None:
            right = right_answer(gold)
            if right is None:
                return None
            got = read(text).final
            if got is None:
                return False
            looked = first_look((right,), got)
            questions = () if isinstance(looked, bool) else looked
            return decide(looked, {question: opened.one(question) for question in questions}).same

        yield same_answer


def right_answer(gold: str) -> str | None:
    """The answer in a reference: what its last box or marker holds, or all of it where it is short and has neither."""
    found = boxes(gold)
    if found:
        return found[-1]
    if marks := marked(gold):
        return marks[-1].text
    gold = gold.strip()
    return gold if gold and len(gold) <= 200 and "\n" not in gold else None
