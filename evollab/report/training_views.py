"""What the page of a training says of its facts: sentences, cards, warnings, which curves there are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evollab.inert import one_line
from evollab.report.analysis_charts import neat
from evollab.report.figures import big, duration, number, percent
from evollab.report.training_charts import Curve, chart, scale_of, share_told, small_told
from evollab.report.training_facts import KINDS, TrainingFacts, finite
from evollab.report.training_tables import row_counts, stages

_SHARES = frozenset({
    "accuracy", "pair_accuracy", "ranking_accuracy", "trained_share", "wrong", "wrong_found", "verified", "ended",
})  # fmt: skip
_FROM_ZERO = frozenset({"lr", "grad_norm", "tokens_per_second", "length", "reward_std"})
_TITLES: Mapping[str, tuple[str, str]] = {
    "loss": ("Loss", "What is minimised; it says little about success here."),
    "lr": ("Learning rate", ""),
    "grad_norm": ("Gradient norm", "Before clipping."),
    "tokens_per_second": ("Tokens a second", "Without padding, in training steps."),
    "trained_share": ("Share of trained tokens", "Of the tokens of a step, those that the loss counts."),
    "accuracy": ("Accuracy", ""),
    "entropy": ("Entropy", "Of the distribution over the next token, in nats."),
    "pair_accuracy": ("Pairs in order", "The chosen answer has gained more than the rejected one; ties count half."),
    "ranking_accuracy": ("Ranking", "The chosen answer is likelier than the rejected one."),
    "margin": ("Margin", "Reward of the chosen answer less that of the rejected one."),
    "reward": ("Reward", ""),
    "reward_std": ("Spread of rewards", "Standard deviation within a group of answers."),
    "irm": ("Instruction reward", "r_I, in [0, 1]."),
    "prm": ("Answer reward", "r_A, over the steps of an answer, in [0, 1]."),
    "verified": ("Verified", "Answers that the verifier takes for right."),
    "kl": ("KL divergence", "From the model that training began with."),
    "length": ("Length", "Tokens of an answer."),
    "ended": ("Ended", "Answers that end by themselves."),
    "score": ("Held-out score", ""),
    "change": ("Change of the held-out score", "Against that before training; below and above its 95 % interval."),
    "wrong_found": ("Wrong steps found", "Of the steps that are wrong, those called so."),
    "wrong": ("Wrong steps", "Their share in the data."),
}
_ACCURACY = {
    "train-sft": "Of the trained tokens, those that the model puts first.",
    "train-irm": "Pairs whose better instruction gets the higher reward; ties count half.",
    "train-prm": "Of all steps, by the likeliest label.",
}
_TOGETHER: Sequence[tuple[str, str, Sequence[tuple[str, str]]]] = (
    ("Rewards", "Beta times the gain in log-likelihood over the reference.",
     (("reward_chosen", "chosen"), ("reward_rejected", "rejected"))),
    ("Log-likelihood", "Of a whole answer.", (("logp_chosen", "chosen"), ("logp_rejected", "rejected"))),
    ("Change of the held-out score", "Against that before training, with its 95 % interval.",
     (("eval_change", "mean"), ("eval_low", "low"), ("eval_high", "high"))),
)  # fmt: skip
"""Series that belong in one picture."""
_ORDER = (
    "score", "reward", "verified", "irm", "prm", "kl", "length", "ended", "pair_accuracy", "margin", "Rewards",
    "Log-likelihood", "accuracy", "wrong_found", "lr", "grad_norm", "tokens_per_second", "trained_share",
)  # fmt: skip
_UNSHOWN = frozenset({"hacking", "wrong"})


@dataclass(frozen=True, slots=True)
class Card:
    title: str
    value: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart with what stands around it. read: (class, label, last value) for its readout."""

    id: str
    title: str
    about: str
    drawn: Markup
    read: tuple[tuple[str, str, str], ...]
    curves: tuple[Curve, ...]
    told: Callable[[float], str]


def what(facts: TrainingFacts) -> str:
    """What kind of training it was."""
    slices = len(stages(facts))
    if facts.kind == "train-dpo" and slices > 1:
        return f"Stage-DPO in {slices} slices"
    return KINDS[facts.kind]


def lead(facts: TrainingFacts) -> str:
    """A sentence or two: what was trained on what, what came of it."""
    counts = facts.get("counts")
    rows = finite(counts.get("train")) if isinstance(counts, Mapping) else None
    noun = {"train-dpo": "pairs", "train-irm": "pairs", "train-prm": "answers", "train-rleif": "prompts"}.get(
        facts.kind, "rows"
    )
    said = f"{what(facts)}" + (f" of {one_line(base, 80)}" if (base := facts.words("base")) else "")
    if rows is not None:
        data = facts.words("inputs", "data", "file") or facts.words("inputs", "prompts", "file")
        said += f" on {rows:,.0f} {noun}" + (f" of {one_line(data, 80)}" if data else "")
    said += f", {facts.steps:,} step{'' if facts.steps == 1 else 's'}."
    held = facts.series.get("eval_loss")
    if held is not None and len(held.points) > 1 and not facts.stage_ends:
        first, last = held.points[0][1], held.last
        word = "fell" if last < first else "rose" if last > first else "stayed"
        said += f" The loss on what was held out {word} from {first:.4g} to {last:.4g}."
    return said


def cards(facts: TrainingFacts) -> list[Card]:
    """The few numbers that matter most, six at most."""
    return [*_outcomes(facts), *_efforts(facts)][:6]


def _outcomes(facts: TrainingFacts) -> Iterator[Card]:
    held, loss = facts.series.get("eval_loss"), facts.series.get("loss")
    score, reward = facts.series.get("eval_score"), facts.series.get("reward")
    if facts.kind == "train-rleif":
        for title, one in (("Held-out score", score), ("Reward", reward)):
            if one is not None:
                by = facts.words("held_out", "by") if one is score else ""
                yield Card(
                    title, neat(one.last), f"from {neat(one.points[0][1])}" + (f"; {one_line(by, 40)}" if by else "")
                )
        if (kl := facts.series.get("kl")) is not None:
            yield Card("KL divergence", neat(kl.last), f"at most {neat(max(value for _, value in kl.points))}")
        return
    done = [one for one in stages(facts) if one.after is not None]
    if done:
        kept = [one for one in done if one.kept] or done
        more = f"of {done[-1].held_out:,} held out" if done[-1].held_out else ""
        yield Card("Pairs in order", share_told(kept[-1].after or 0.0), f"{more}; 50% before training")
    elif held is not None:
        first = f"from {held.points[0][1]:.4g}" if len(held.points) > 1 else "one evaluation"
        yield Card("Held-out loss", f"{held.last:.4g}", first)
        if facts.kind == "train-sft" and held.last < 20:
            more = f"from {math.exp(min(held.points[0][1], 20)):,.3g}" if len(held.points) > 1 else ""
            yield Card("Held-out perplexity", f"{math.exp(held.last):,.3g}", more)
    if loss is not None:
        yield Card("Training loss", f"{loss.last:.4g}", f"last step; from {loss.points[0][1]:.4g}")
    accuracy = facts.series.get("eval_accuracy")
    if accuracy is not None and facts.kind in {"train-irm", "train-prm"}:
        yield Card("Held-out accuracy", share_told(accuracy.last), f"from {share_told(accuracy.points[0][1])}")


def _efforts(facts: TrainingFacts) -> Iterator[Card]:
    if facts.tokens:
        share = percent(facts.trained_tokens / facts.tokens)
        yield Card("Tokens seen", big(facts.tokens), f"{share} of them trained, without padding")
    pace = facts.series.get("tokens_per_second")
    if pace is not None:
        device = one_line(facts.words("machine", "device"), 40)
        middle = statistics.median(value for _, value in pace.points)
        yield Card(
            "Tokens a second",
            number(round(middle) if middle >= 100 else round(middle, 1)),
            f"median; {device}" if device else "median",
        )
    training, whole = facts.number("times", "training"), facts.number("times", "seconds")
    if training is not None:
        yield Card("Time in steps", duration(training), f"{duration(whole)} in all" if whole is not None else "")


# What a reader must know first


def warnings(facts: TrainingFacts) -> list[str]:
    """What makes the result doubtful, the gravest first."""
    return [
        *_told(facts.get("warnings")), *_hacked(facts), *_ended(facts), *_undone(facts), *_overfitted(facts),
        *_rows_lost(facts), *_told(facts.get("notes")),
    ]  # fmt: skip


def _told(found: Any) -> list[str]:
    return [_plain(one) for one in found if isinstance(one, str)][:20] if isinstance(found, list) else []


def _plain(told: str) -> str:
    """As the terminal had it, without its first word."""
    bare = told.removeprefix("warning: ").removeprefix("note: ")
    return bare[:1].upper() + bare[1:]


def _hacked(facts: TrainingFacts) -> Iterator[str]:
    """What the trainer noted while it ran, where it did not come to say so at the end."""
    hacking = facts.series.get("hacking")
    if hacking is None or _told(facts.get("warnings")):
        return
    steps = [step for step, value in hacking.points if value]
    if steps:
        yield (
            f"Reward hacking? By step {steps[-1]:,} the training reward had risen, while the held-out score had fallen "
            "by more than chance. The answers below show what the reward liked."
        )


def _ended(facts: TrainingFacts) -> Iterator[str]:
    state = facts.words("state")
    if state == "stopped":
        yield f"It was stopped after {facts.steps:,} steps. The same command goes on from the last checkpoint."
    elif state != "complete":
        yield "It is still running, or was killed: what is here is what it had told so far."
    if facts.unreadable:
        lines = "1 line" if facts.unreadable == 1 else f"{facts.unreadable:,} lines"
        yield f"{lines} of its logs could not be read, and left out here."


def _undone(facts: TrainingFacts) -> Iterator[str]:
    made = stages(facts)
    gone = [one for one in made if not one.kept]
    if gone and len(gone) == len(made):
        yield "Every slice made pairs held out worse and was undone: there is no new model."
    for one in gone if len(gone) < len(made) else ():
        fell = (
            f" from {share_told(one.before)} to {share_told(one.after)}"
            if one.before is not None and one.after is not None
            else ""
        )
        yield f"Slice {one.number} was undone: pairs held out in order fell{fell}. The next began where it had begun."


def _overfitted(facts: TrainingFacts) -> Iterator[str]:
    held = facts.series.get("eval_loss")
    if held is None or facts.stage_ends or len(held.points) < 2:
        return
    step, best = min(held.points, key=lambda one: one[1])
    if held.points[0][1] < held.last and step == held.points[0][0]:
        yield f"The loss on what was held out only rose: from {best:.4g} before training to {held.last:.4g}."
    elif held.last > best * 1.01 + 1e-6:
        kept = " The best model is kept." if facts.number("config", "patience") else ""
        text = f"It overfits: the loss on what was held out was best at step {step:,} ({best:.4g})"
        yield f"{text}, and {held.last:.4g} at the end.{kept}"


def _rows_lost(facts: TrainingFacts) -> Iterator[str]:
    for one in row_counts(facts):
        if one.name != "train" and one.name != "held_out" and one.share >= 0.1:
            word = "cut at the limit of tokens, mid-answer" if one.name == "cut" else f"not trained: {one.title}"
            yield f"{percent(one.share)} of the rows were {word}."


# Curves


def pictures(facts: TrainingFacts) -> tuple[Picture | None, list[Picture]]:
    """What matters most (the loss; in reinforcement learning the reward, and whether it is worth anything), and all
    other curves."""
    name, title, wanted, told = "loss", "Loss", (("loss", "training"), ("eval_loss", "held out")), _loss
    if facts.kind == "train-rleif" and "reward" in facts.series:
        name, title, told = "reward", "Reward and held-out score", neat
        wanted = (("reward", "reward"), ("eval_score", "held-out score"))
    found = (_curve(facts, one, label, f"c{at}") for at, (one, label) in enumerate(wanted))
    curves = [one for one in found if one is not None]
    shown = {one.series.name for one in curves}
    first = None
    if curves:
        scale = scale_of(curves, zero=False)
        drawn = chart(curves, title, 300, scale=scale, marks=facts.stage_ends, ends=told)
        first = Picture(name, title, _cut(scale.cut), drawn, _read(curves, told), tuple(curves), told)
    rest = [_picture(facts, *one) for one in _groups(facts, shown)]
    rank = {name: at for at, name in enumerate(_ORDER)}
    return first, sorted(rest, key=lambda one: rank.get(one.id, len(rank)))


def _groups(facts: TrainingFacts, shown: set[str]) -> Iterator[tuple[str, str, str, list[Curve]]]:
    """Name, title, explanation and curves of each picture, but for series that are `shown`."""
    shown = shown | {f"eval_{name}" for name in shown}
    for title, about, names in _TOGETHER:
        if names[0][0] in facts.series:
            found = (_curve(facts, name, label, f"c{at}") for at, (name, label) in enumerate(names))
            shown |= {name for name, _ in names}
            yield title, title, about, [one for one in found if one is not None]
    for full in facts.series:
        name = full.removeprefix("eval_")
        if full in shown or name in _UNSHOWN:
            continue
        shown |= {name, f"eval_{name}"}
        both = _curve(facts, name, "training", "c0"), _curve(facts, f"eval_{name}", "held out", "c1")
        curves = [one for one in both if one is not None]
        title, about = _TITLES.get(name, (one_line(name.replace("_", " "), 60).capitalize(), ""))
        about = _ACCURACY.get(facts.kind, about) if name == "accuracy" else about
        yield name, title, about, curves


def _curve(facts: TrainingFacts, name: str, label: str, look: str) -> Curve | None:
    series = facts.series.get(name)
    return None if series is None else Curve(series, label, look, name.startswith("eval_"), name == "lr")


def _picture(facts: TrainingFacts, name: str, title: str, about: str, curves: list[Curve]) -> Picture:
    share = name in _SHARES and all(0 <= value <= 1 for curve in curves for _, value in curve.series.points)
    told = share_told if share else small_told if name == "lr" else neat
    scale = scale_of(curves, zero=name in _FROM_ZERO, most=1.0 if share else None)
    drawn = chart(curves, title, 120, scale=scale, told=_percents if share else told, marks=facts.stage_ends)
    said = " ".join(one for one in (about, _cut(scale.cut)) if one)
    return Picture(name, title, said, drawn, _read(curves, told), tuple(curves), told)


def _percents(value: float) -> str:
    return f"{value * 100:.3g}%"


def _loss(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else neat(value)


def _cut(count: int) -> str:
    return f"{count:,} value{'s lie' if count > 1 else ' lies'} above the picture." if count else ""


def _read(curves: Sequence[Curve], told: Callable[[float], str]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (curve.look, curve.label if len(curves) > 1 or curve.sparse else "", told(curve.series.last))
        for curve in curves
    )


def for_reading(all_: Sequence[Picture], most: int = 600) -> dict[str, Any]:
    """What the script reads values from: picture -> curves -> [steps, values as told]; of long runs some steps."""
    found: dict[str, Any] = {}
    for picture in all_:
        curves = []
        for curve in picture.curves:
            points = curve.series.points
            kept = points[:: -(-len(points) // most)]
            kept = kept if kept[-1] == points[-1] else (*kept, points[-1])
            curves.append([[step for step, _ in kept], [picture.told(value) for _, value in kept]])
        steps = [step for curve in picture.curves for step, _ in (curve.series.points[0], curve.series.points[-1])]
        found[picture.id] = {"from": min(steps), "to": max(steps), "curves": curves}
    return found
