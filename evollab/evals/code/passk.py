"""pass@k: the chance that of k samples at least one is right (Chen et al. 2021, 2107.03374)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from evollab.evals.metric import Metric
from evollab.evals.trial import Answer, Marked
from evollab.records import EvolError

KS = (1, 10, 100)
_NAMED = 5


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n-c, k) / C(n, k): unbiased for n >= k samples of which c are right. As a product, so that no number
    gets large. Raises EvolError for numbers that can't be."""
    if not 0 <= c <= n or not 1 <= k <= n:
        raise EvolError(f"pass@{k} of {c} right in {n} samples: expected 0 <= right <= samples and 1 <= k <= samples")
    if n - c < k:
        return 1.0
    missed = 1.0
    for left in range(n - c + 1, n + 1):
        missed *= 1.0 - k / left
    return 1.0 - missed


def pass_metrics(marked: Sequence[Marked]) -> list[Metric]:
    """pass@1, and pass@10 and pass@100 where each question has as many marked samples; then the same of each further
    rule in `Mark.more`. Intervals are over questions. A sample without a score doesn't count."""
    rules = dict.fromkeys(name for _, mark in marked for name in mark.more)
    return [metric for rule in ("", *rules) for metric in _of(rule, marked)]


def _of(rule: str, marked: Sequence[Marked]) -> list[Metric]:
    from evollab.evals.stats import score_metric

    tally = _tally(rule, marked)
    fewest = min((n for n, _ in tally.values()), default=1)
    found = []
    for k in (one for one in KS if one <= fewest):
        values = [pass_at_k(n, c, k) for n, c in tally.values()]
        found.append(score_metric(f"{rule} pass@{k}".strip(), values, clusters=list(tally)))
        found[-1].facts.update(_samples([n for n, _ in tally.values()]))
    return found


def _tally(rule: str, marked: Sequence[Marked]) -> Mapping[str, tuple[int, int]]:
    """Samples and right ones of each question."""
    tally: dict[str, tuple[int, int]] = {}
    for answer, mark in marked:
        score = mark.more.get(rule) if rule else mark.score
        if mark.score is not None and score is not None:
            n, c = tally.get(answer.question.id, (0, 0))
            tally[answer.question.id] = (n + 1, c + (score >= 1.0))
    return tally


def _samples(counts: Sequence[int]) -> dict[str, float | int | str | None]:
    few, many = min(counts, default=0), max(counts, default=0)
    return {"samples": few if few == many else f"{few} to {many}"}


def uneven(answers: Sequence[Answer]) -> str:
    """Which questions have other numbers of samples than most, in words; "" where all have the same."""
    counts = Counter(answer.question.id for answer in answers)
    if len(set(counts.values())) < 2:
        return ""
    usual = Counter(counts.values()).most_common(1)[0][0]
    others = [f"{name} {count}" for name, count in counts.items() if count != usual]
    more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
    return f"not all questions have {usual} samples: {', '.join(others[:_NAMED])}{more}; pass@k goes up to the fewest"
