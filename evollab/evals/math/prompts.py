r"""The ways to put a maths problem to a model, written into the result.

    chat        a user's message: the problem, an ask for steps, and how the last line should look
    vicuna      the text of Vicuna v1.1 around the bare problem
    alpaca-cot  the text that WizardMath was trained and measured with: Alpaca, and "Let's think step by step."
    bare        the problem alone, as a user's message
    few-shot    eight worked examples of ours and the problem, as one text; for models that were not trained to talk

But for few-shot none has stop texts: they cut right answers that hold them. What a model says behind its answer, to a
next question of its own, is cut when the answer is read (math_markers.body).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evollab.chat import ALPACA_PREAMBLE, VICUNA_SYSTEM
from evollab.evals.trial import Prompt, Question
from evollab.records import Message

NUMBER = 'Work it out step by step. Close with one line of the form "The answer is: N", where N is a number alone.'
FORMULA = r"Work it out step by step, and put the final answer, and nothing else, into \boxed{} at the end."

EXAMPLES = (
    (
        "A baker puts 6 rolls into each of 4 bags and keeps 5 rolls for himself. How many rolls did he bake?",
        "The bags hold 4 * 6 = 24 rolls. With the 5 that he keeps it is 24 + 5 = 29 rolls. The answer is: 29",
    ),
    (
        "Nadia has 50 euros. She buys three tickets for 12 euros each. How much is left?",
        "Three tickets cost 3 * 12 = 36 euros. So 50 - 36 = 14 euros are left. The answer is: 14",
    ),
    (
        "A tank holds 240 litres and is three quarters full. A pump takes out 20 litres a minute. After how many "
        "minutes is the tank empty?",
        "There are 240 * 3 / 4 = 180 litres in the tank. The pump needs 180 / 20 = 9 minutes. The answer is: 9",
    ),
    (
        "Omar read 18 pages on Monday, twice as many on Tuesday, and on Wednesday 10 pages fewer than on Tuesday. How "
        "many pages did he read in the three days?",
        "On Tuesday he read 2 * 18 = 36 pages, on Wednesday 36 - 10 = 26 pages. In all that is 18 + 36 + 26 = 80 "
        "pages. The answer is: 80",
    ),
    (
        "A coat costs 80 dollars. In a sale it is 25% cheaper. What do two coats cost in the sale?",
        "A quarter of the price is 80 / 4 = 20 dollars, so a coat costs 80 - 20 = 60 dollars. Two cost 2 * 60 = 120 "
        "dollars. The answer is: 120",
    ),
    (
        "In a hall there are 15 rows of 20 seats. 270 seats are taken. How many seats are free?",
        "There are 15 * 20 = 300 seats. So 300 - 270 = 30 seats are free. The answer is: 30",
    ),
    (
        "Lena is 7 years older than Max. Together they are 31. How old is Max?",
        "Without those 7 years both together are 31 - 7 = 24, which is twice the age of Max. So Max is 24 / 2 = 12 "
        "years old. The answer is: 12",
    ),
    (
        "A train leaves at 9:40, takes 95 minutes, and is 10 minutes late. How many minutes after 11:00 does it come "
        "in?",
        "With the delay it takes 95 + 10 = 105 minutes. Until 11:00 it is 80 minutes. So it arrives 105 - 80 = 25 "
        "minutes after 11:00. The answer is: 25",
    ),
)
"""Ours, so in no test set."""


def chat(ask: str) -> Prompt:
    def asked(question: Question, said: Sequence[str]) -> tuple[Message, ...]:
        return (Message("user", f"{question.turns[0]}\n\n{ask}"),)

    return Prompt(about=f"a user's message: the problem, an empty line, and: {ask}", ask=asked)


def _bare(question: Question, said: Sequence[str]) -> tuple[Message, ...]:
    return (Message("user", question.turns[0]),)


def _vicuna(question: Question, said: Sequence[str]) -> str:
    return f"{VICUNA_SYSTEM} USER: {question.turns[0]} ASSISTANT:"


def _alpaca(question: Question, said: Sequence[str]) -> str:
    return f"{ALPACA_PREAMBLE}### Instruction:\n{question.turns[0]}\n\n### Response: Let's think step by step."


def _few_shot(question: Question, said: Sequence[str]) -> str:
    shown = "".join(f"Question: {asked}\nAnswer: {answer}\n\n" for asked, answer in EXAMPLES)
    return f"{shown}Question: {question.turns[0]}\nAnswer:"


FEW_SHOT = Prompt(about="eight worked examples and the problem, as one text", ask=_few_shot, stop=("\nQuestion:",))


def presets(ask: str, more: Mapping[str, Prompt]) -> Mapping[str, Prompt]:
    """The presets of a maths task. ask: what the chat prompt says of the answer's form. more: the task's own."""
    return {
        "chat": chat(ask),
        "vicuna": Prompt(about="Vicuna v1.1, the problem alone", ask=_vicuna),
        "alpaca-cot": Prompt(about="Alpaca, begun with: Let's think step by step. (WizardMath)", ask=_alpaca),
        "bare": Prompt(about="the problem alone, as a user's message", ask=_bare),
        **more,
    }
