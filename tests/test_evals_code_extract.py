"""The program in an answer: every way in which models write one."""

from __future__ import annotations

import ast
import re
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.evals.code.extract import LONGEST, Extracted, extract_code
from evollab.evals.code.fences import Stretch, stretches
from evollab.evals.code.syntax import longest, missing, piece, pieces, solves, trimmed

PROMPT = '''from typing import List


def lowest(values: List[int]) -> int:
    """ The helper: the lowest value. """
    return min(values)


def spread(values: List[int]) -> int:
    """ How far the lowest and the highest value are apart.
    >>> spread([1, 4])
    3
    """
'''
BODY = """    top = values[0]
    for value in values:
        if value > top:
            top = value
    return top - lowest(values)
"""
WHOLE = PROMPT + BODY
ALONE = 'def spread(values):\n    """Apart."""\n' + BODY
DRAFT = "def spread(values):\n    return 0\n"
SAID = "This function works: it doesn't assert anything."
FORMS = {
    "the body": (BODY, "continued"),
    "the body, then prose": (f"{BODY}\n{SAID}", "continued"),
    "the body in a fence": (f"```\n{BODY}```", "continued"),
    "the body and an end of a fence": (f"{BODY}```\n{SAID}", "continued"),
    "the body without its first indentation": (BODY.strip(), "continued, indented"),
    "the body with tabs": (BODY.replace("    ", "\t"), "continued, indented"),
    "the body at the margin": (textwrap.dedent(BODY), "continued, indented"),
    "the body indented by two": (textwrap.indent(textwrap.dedent(BODY), "  "), "continued, indented"),
    "prompt and body": (WHOLE, "whole"),
    "line ends of DOS": (WHOLE.replace("\n", "\r\n"), "whole"),
    "the function alone": (ALONE, "whole"),
    "all of it indented": (textwrap.indent(ALONE, "    "), "whole"),
    "a fence": (f"Sure!\n\n```python\n{ALONE}```\n{SAID}", "fence"),
    "a fence of tildes": (f"~~~py\n{ALONE}~~~", "fence"),
    "a fence with an unknown tag": (f"```Python3.11\n{ALONE}```", "fence"),
    "a fence in a list": ("1. Do:\n   ```python\n" + textwrap.indent(ALONE, "   ") + "   ```", "fence"),
    "a fence after words": (f"Here it is: ```python\n{ALONE}```", "fence"),
    "a fence that never ends": (f"```python\n{ALONE}", "fence"),
    "a fence that ends a line of code": (f"```python\n{ALONE.rstrip()}```\n{SAID}", "fence"),
    "a fence that was open before": (f"{ALONE}```\n{SAID}", "syntax"),
    "a draft, then the answer": (f"```python\n{DRAFT}```\nBetter:\n```python\n{ALONE}```", "fence"),
    "the answer, then a part of it": (f"```python\n{ALONE}```\nSo:\n```python\n{DRAFT}```", "fence"),
    "the stub, then the answer": (f"```python\n{PROMPT}```\nNow:\n```python\n{ALONE}```", "fence"),
    "an end of thoughts": (f"<think>\n```python\n{DRAFT}```\n</think>\n{ALONE}", "whole"),
    "an end of text": (f"{ALONE}<|endoftext|>def spread(values):\n    return 1", "whole"),
    "marks of a few-shot prompt": (f"[BEGIN]\n{ALONE}[DONE]\n{DRAFT}", "whole"),
    "the mark of its end": (f"{ALONE}\n[DONE]\nYou are an expert.\n[BEGIN]\n{DRAFT}", "whole"),
    "marks of CodeLlama": (f"Sure.\n[PYTHON]\n{ALONE}[/PYTHON]\n[TESTS]\nassert 0\n[/TESTS]", "whole"),
    "prose around": (f"Here is the function:\n\n{ALONE}\n{SAID}", "syntax"),
    "trial runs": (f"```python\n{ALONE}\nassert spread([1]) == 7\nx = spread([])\nprint(x)\nmain()\n```", "fence"),
    "asks for input": (f"```python\n{ALONE}\nn = int(input())\nif __name__ == '__main__':\n    run(n)\n```", "fence"),
}


def body_of(code: str) -> str:
    """The statements of the last `spread`, whatever their layout."""
    found = [one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef) and one.name == "spread"][-1]
    kept = [one for one in found.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return "\n".join(ast.unparse(one) for one in kept)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_answers(form: str) -> None:
    text, how = FORMS[form]
    found = extract_code(text, PROMPT, "spread")
    assert (body_of(found.code), found.how) == (body_of(WHOLE), how)
    space: dict[str, object] = {}
    exec(found.code, space)
    run = space["spread"]
    assert callable(run)
    assert run([4, 1, 9]) == 8  # with the helper and the import of the prompt


def test_trial_runs_go_and_settings_stay() -> None:
    code = (
        "import sys\nCACHE = {}\ndef f(n):\n    return CACHE.get(n, G)\n\n"
        "sys.setrecursionlimit(9)\nG = 3\ndef helper():\n    print(1)\nprint(f(1))\nassert f(1)\nf(2)\nNote: it\n"
        "for n in range(3):\n    print(n)\nimport unittest\nunittest.main()\n"
    )
    found = piece(code)
    assert found is not None
    left = trimmed(found, "f")
    assert left == (
        "import sys\nCACHE = {}\ndef f(n):\n    return CACHE.get(n, G)\n\n"
        "sys.setrecursionlimit(9)\nG = 3\ndef helper():\n    print(1)\nimport unittest\n"
    )


def test_a_program_as_it_stands_is_not_touched() -> None:
    text = f"{ALONE}\nassert spread([1]) == 7\n"
    assert extract_code(text, PROMPT, "spread").code.endswith(text)


def test_words_inside_a_solution_cut_nothing() -> None:
    code = "def f(s):\n    assert s\n    return s + ' ### Instruction: ### Response: ```'\n"
    for text in (code, f"````python\n{code}````", f"Well:\n{code}\nDone."):
        assert "### Response: ```'" in extract_code(text, "", "f").code


def test_helpers_come_from_other_blocks() -> None:
    text = (
        "```python\nimport math\nHALF = 0.5\ndef root(x):\n    return math.sqrt(x)\ndef other(): pass\n```\nand\n"
        "```python\ndef f(x):\n    return root(x) * HALF\n```"
    )
    found = extract_code(text, "", "f")
    assert found.how == "fence"
    assert found.code.startswith("import math\nHALF = 0.5\ndef root(x):\n    return math.sqrt(x)\ndef f(x):")
    block = piece("def f(x):\n    y = len(x)\n    return [z for z in y]\n")
    assert block is not None
    assert missing(block, [block]) == ""


def test_future_imports_stay_first() -> None:
    code = extract_code("from __future__ import annotations\n\n" + ALONE, PROMPT, "spread").code
    assert code.startswith("from __future__ import annotations\nfrom typing import List\n")
    compile(code, "x", "exec")


def test_a_class_with_the_method_is_unwrapped() -> None:
    found = extract_code("```\nclass Solution:\n    def f(self, a):\n        return a + 1\n```", "", "f")
    assert found.how == "method"
    space: dict[str, object] = {}
    exec(found.code, space)
    run = space["f"]
    assert callable(run)
    assert run(1) == 2


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("", "nothing"), ("This is some random text", "nothing"), ("Sorry", "nothing"), ("```\n\n```", "nothing"),
        ("I can't do that.\n\nThe function would need more.", "nothing"),
        ("```python\ndef other(): return 1\n```", "other"),
    ],
)  # fmt: skip
def test_answers_without_it(text: str, how: str) -> None:
    assert extract_code(text, PROMPT, "spread").how == how


def test_without_a_name_any_definition_does() -> None:
    assert extract_code("Here:\n```\ndef any_name(): return 1\n```", "", None) == Extracted(
        "def any_name(): return 1", "fence"
    )


def test_a_cut_off_function_is_taken_as_far_as_it_goes() -> None:
    found = extract_code("```python\ndef f(x):\n    y = 1\n    for a in ra", "", "f")
    assert (found.code, found.how) == ("def f(x):\n    y = 1", "fence")


def test_stretches_keep_their_order() -> None:
    assert stretches("a\n```py\nb\n```\nc\n```\nd") == [
        Stretch("a", False), Stretch("b", True), Stretch("c", False), Stretch("d", True),
    ]  # fmt: skip
    assert stretches("```a\nb\n```c\nd") == [Stretch("b", True), Stretch("d", True)]
    assert stretches("see `x` and ```y``` there") == [Stretch("see `x` and ```y``` there", False)]


def test_solves_wants_more_than_a_stub() -> None:
    for stub in ('def f():\n    "doc"', "def f():\n    ...", "def f(): pass", "from m import f", "g = 1"):
        assert not solves(ast.parse(stub), "f")
    for code in ("def f(): return 1", "f = lambda: 1", "class f: x = 1", "if 1:\n    def f(): return 1"):
        assert solves(ast.parse(code), "f")


def test_a_return_outside_a_function_is_no_program() -> None:
    assert piece("x = 1\nif x:\n    return x") is None
    found, length = longest(["x = 1", "match x:", "    case 1:", "        return x"])
    assert found is not None
    assert (found.code, length) == ("x = 1", 1)


lines = st.sampled_from(
    ["```", "```python", "~~~", "def f(x):", "    return x", "\treturn 1", "import os", "prose, it is", "", "x = (",
     '"""', "class Solution:", "    def f(self):", "        pass", "</think>", "return 2", "@", "\x00", "\ud800", "f(1)"]
)  # fmt: skip


@given(st.lists(lines, max_size=14).map("\n".join) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_never_raises_and_gives_what_parses(text: str) -> None:
    for prompt, entry in ((PROMPT, "spread"), ("", "f"), ("", None), ("def f(x):\n", "f")):
        found = extract_code(text, prompt, entry)
        if found.how == "nothing":
            assert found.code == ""
        else:
            ast.parse(found.code)


names = st.sampled_from(["a", "b", "total"])
programs = st.lists(
    st.builds(
        "    {0} = {0} + '{1}'\n".format, names, st.text("ab <>#-'", max_size=8).map(lambda t: t.replace("'", ""))
    )
    | st.builds("    if {0}:\n        {0} = [{0}]\n".format, names),
    max_size=6,
).map(lambda parts: "def f(a, b, total):\n" + "".join(parts) + "    return total\n")


@given(
    programs, st.sampled_from(["python", "", "py", "Python3"]), st.sampled_from(["```", "````", "~~~"]), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_fences_round_trip(code: str, tag: str, fence: str, closed: bool) -> None:
    text = f"Here.\n{fence}{tag}\n{code}{fence if closed else ''}"
    found = extract_code(text, "", "f")
    assert (found.code.rstrip("\n"), found.how) == (code.rstrip("\n"), "fence")


@given(programs)
@settings(max_examples=60, deadline=None)
def test_bodies_round_trip(code: str) -> None:
    head, _, body = code.partition("\n")
    want = ast.dump(ast.parse(code))
    tabs = re.sub(r"^(?: {4})+", lambda found: "\t" * (len(found[0]) // 4), body, flags=re.MULTILINE)
    for text in (body, body.strip(), textwrap.dedent(body), tabs):
        assert ast.dump(ast.parse(extract_code(text, head + "\n", "f").code)) == want


@pytest.mark.parametrize(
    "text",
    ["(" * LONGEST, "```" * 50_000, "```\n" * 40_000, "def f(:\n" * 20_000, "x = \n" * 30_000, "a" * (4 * LONGEST),
     "not " * 40_000, '"""\n' * 40_000, "@" * 100_000, "</think>" * 20_000, "import a\nb c\n" * 12_000],
)  # fmt: skip
def test_hostile_texts_are_read_in_reasonable_time(text: str) -> None:
    extract_code(text, PROMPT, "spread")  # the suite's time limit is the assertion
    assert list(pieces("")) == []
