"""Numbers as people read them, the same in the terminal and on the page."""

from __future__ import annotations


def number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")


def big(value: int) -> str:
    """1,234 in full, 56.7 k, 1.23 M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size * (10 if letter == "k" else 1):
            digits = value / size
            return f"{digits:.0f} {letter}" if digits >= 100 else f"{digits:.3g} {letter}"
    return f"{value:,}"


def usd(value: float | None) -> str:
    """Dollars with as many digits as matter; a dash where the price is unknown."""
    if value is None:
        return "–"
    if 0 < value < 0.1:
        return f"${value:.6f}".rstrip("0") if value < 0.0001 else f"${value:.4f}"
    return f"${value:,.0f}" if value >= 1000 else f"${value:,.2f}"


def percent(share: float) -> str:
    """Whole per cents, but never 100 or 0 for what is only near it."""
    value = share * 100
    if 99.5 <= value < 100 or 0 < value < 0.5:
        return f"{value:.1f}%" if 0.05 <= value < 99.95 else (">99.9%" if value > 50 else "<0.1%")
    return f"{value:.0f}%"


def duration(seconds: float) -> str:
    """Seconds as people say them: 840 ms, 12.3 s, 5 min 40 s, 3 h 12 min, 2 d 4 h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
