"""Format numbers for readers; the only place where they are rounded."""

from __future__ import annotations

from apsite.vocabulary import epsilon_value

MINUS = "\N{MINUS SIGN}"
MISSING = "–"
"""What a table shows in place of an unknown number."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage without its sign, such as ``45.40``; a dash where there is none."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f}"


def signed_points(fraction: float) -> str:
    """A difference of two fractions in percentage points with its sign, such as ``+3.32``."""
    return f"{100 * fraction:+.2f}".replace("-", MINUS)


def sparsity(fraction: float | None) -> str:
    """A sparsity as a percentage with its sign and only the significant digits, such as ``90 %`` or ``93.75 %``."""
    return MISSING if fraction is None else f"{round(100 * fraction, 4):g} %"


def interval(bounds: tuple[float, float] | None) -> str:
    """Bounds of an interval in percent to one digit, such as ``44.4–46.4``; a dash where there is none."""
    return MISSING if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f}"


def count(number: int | None) -> str:
    """A whole number with thousands apart, such as ``10,000``; a dash where there is none."""
    return MISSING if number is None else f"{number:,}"


def large(number: int | None) -> str:
    """A large count to three significant digits, such as ``11.2 M``; a dash where there is none."""
    if number is None:
        return MISSING
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def distance(value: float | None) -> str:
    """A perturbation size in input units as a multiple of 1/255, such as ``9.42/255``; a dash where there is none."""
    return MISSING if value is None else f"{value * 255:.2f}/255"


def budget(text: str | None) -> str:
    """ε as its exact text; a dash where the source does not state it."""
    if text is None:
        return MISSING
    epsilon_value(text)
    return text


def words(items: list[str]) -> str:
    """A list for a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else MISSING
