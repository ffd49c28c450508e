"""Agreement beyond chance on names of classes. 1 is perfect, 0 what chance would give; None where nothing can be told:
nobody was asked twice, or everybody always said the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def cohen(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa (Educational and Psychological Measurement 20, 1960) of two raters: (first, second) for each
    item that both judged."""
    count = len(pairs)
    if not count:
        return None
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(first[value] * second[value] for value in first) / count**2
    observed = sum(one == other for one, other in pairs) / count
    return None if expected == 1 else (observed - expected) / (1 - expected)


def fleiss(items: Sequence[Sequence[Hashable]]) -> float | None:
    """Fleiss' kappa (Psychological Bulletin 76, 1971): for each item what its raters said, as many for every item.

    Raises ValueError where the numbers of raters differ; Krippendorff's alpha is for that.
    """
    raters = {len(item) for item in items}
    if len(raters) > 1:
        raise ValueError(f"items have {min(raters)} to {max(raters)} raters; Fleiss' kappa needs as many for each")
    count = raters.pop() if raters else 0
    if count < 2:
        return None
    told = Counter(value for item in items for value in item)
    expected = sum((number / (count * len(items))) ** 2 for number in told.values())
    return None if expected == 1 else (observed(items) - expected) / (1 - expected)


def krippendorff(items: Sequence[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal data (Content Analysis, 2004, chapter 11): for each item what its raters said,
    any number of them; items with fewer than two don't count."""
    used = [item for item in items if len(item) > 1]
    told = Counter(value for item in used for value in item)
    total = sum(told.values())
    if len(told) < 2:
        return None
    # For each item the ordered pairs of raters that disagree, weighed so that every judgement counts once.
    apart = sum((len(item) ** 2 - sum(n * n for n in Counter(item).values())) / (len(item) - 1) for item in used)
    expected = (total**2 - sum(n * n for n in told.values())) / (total - 1)
    return 1 - apart / expected


def observed(items: Sequence[Sequence[Hashable]]) -> float:
    """The share of pairs of raters that say the same, averaged over the items with at least two. 0 without any."""
    shares = [
        sum(n * (n - 1) for n in Counter(item).values()) / (len(item) * (len(item) - 1))
        for item in items
        if len(item) > 1
    ]
    return sum(shares) / len(shares) if shares else 0.0
