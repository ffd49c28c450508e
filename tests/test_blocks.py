"""Protected material: out and back, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.evolve.blocks import fences, protect, restore, without_blocks
from evollab.evolve.domains.general import DOMAIN
from evollab.evolve.formats import parses
from evollab.evolve.tables import figure_name, named_things, table
from evollab.llm.fill import fill

BLOCKS = {
    "fence": "```python\nx = 1\n\ny = 2\n```",
    "tilde": "~~~\nanything\n~~~",
    "table": "| a | b |\n|---|---|\n| 1 | 2 |",
    "xml": "<order>\n  <line n='1'/>\n</order>",
    "html": '<ul class="x">\n<li>one</li>\n</ul>',
    "json": '{\n  "a": [1, 2]\n}',
    "array": "[\n  1,\n  2\n]",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_survives_a_rewriting(block: str) -> None:
    protected = protect(f"Explain this:\n{block}\nand be brief.")
    assert protected.blocks == (block,)
    assert protected.text == "Explain this:\n[[BLOCK 1]]\nand be brief."
    rewritten = "Explain to a child, with an example:\n[[BLOCK 1]]\nBe brief."
    assert restore(rewritten, protected) == f"Explain to a child, with an example:\n{block}\nBe brief."
    assert restore(f"Explain:\n{block}", protected) == f"Explain:\n{block}"  # copied instead of marked
    assert restore("Explain to a child.", protected) is None
    assert restore("[[BLOCK 1]] and [[BLOCK 1]]", protected) is None
    assert restore(f"[[BLOCK 1]]\n{block}", protected) is None


def test_text_that_speaks_of_markers() -> None:
    text = "What does [[BLOCK 1]] mean here?\n```\nx\n```"
    protected = protect(text)
    assert protected.markers == ("[[BLOCKS 1]]",)
    assert restore(protected.text, protected) == text


@pytest.mark.parametrize(
    "text", ["a | b", "| one line |", "```\nnever closed", "<br>\nno end", "{ not alone", "1 < 2\n3 > 2"]
)
def test_what_is_no_block(text: str) -> None:
    assert protect(text).blocks == ()


@given(st.text(alphabet=st.sampled_from("`~|<>/{}[]ab \n1BLOCK"), max_size=300))
def test_nothing_is_lost(text: str) -> None:
    protected = protect(text)
    restored = restore(protected.text, protected)
    assert restored in (text, None)  # None only when a block stands there twice
    if restored is None:
        assert any(text.count(block) > 1 for block in protected.blocks)
    assert len(without_blocks(text)) <= len(text)


def test_fences() -> None:
    assert fences("a\n```JSON\n{}\n```\nb\n~~~\nx\n~~~\n```open") == [("json", "{}"), ("", "x")]


def test_the_methods_own_examples_parse() -> None:
    for operation in DOMAIN.operations:
        for form in operation.formats:
            ((tag, content),) = fences(form.after)
            assert tag == form.fence
            assert parses(form.fence, content) is None, form.name
    assert [form.fence for op in DOMAIN.operations for form in op.formats] == [
        "xml", "sql", "python", "html", "bash", "json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("xml", "<a><b></a>"),
        ("xml", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'),
        ("json", "{a: 1}"),
        ("python", "def f(:"),
        ("sql", "Here is a table"),
        ("html", "no tags here"),
        ("bash", 'echo "open'),
        ("json", "[" * 100_000),
        ("python", "(" * 5_000),
        ("xml", "<a>" * 30_000),
    ],
)
def test_what_does_not_parse(kind: str, text: str) -> None:
    assert parses(kind, text)


@given(st.text(max_size=200), st.sampled_from(["xml", "sql", "python", "html", "bash", "json"]))
def test_reading_data_never_raises(text: str, kind: str) -> None:
    parses(kind, text)


@given(
    st.lists(st.text(alphabet="abc é'\"<&;,|$`", min_size=3, max_size=12), min_size=3, max_size=8),
    st.sampled_from(["xml", "sql", "python", "html", "bash", "json"]),
    st.integers(),
)
def test_tables_made_by_program_parse(names: list[str], kind: str, seed: int) -> None:
    things = named_things(";".join(names))
    if things:
        text = table(kind, things, "", seed)
        assert text == table(kind, things, "", seed)
        ((tag, content),) = fences(text)
        assert (tag, parses(kind, content)) == (kind, None)


def test_named_things() -> None:
    assert named_things("rice; spinach; eggs; rice; cheese") == ["rice", "spinach", "eggs", "cheese"]
    assert named_things("rice and beans") == []
    assert named_things("rice; spinach; eggs | grams in stock") == ["rice", "spinach", "eggs"]
    assert figure_name("rice; spinach; eggs | grams in stock.") == "grams_in_stock"
    assert figure_name("rice; spinach") == figure_name("a | 7; drop table") == ""


@given(st.text(), st.text())
def test_fill_is_one_pass(a: str, b: str) -> None:
    assert fill("<{{x}}|{{y}}>", x=a, y=b) == f"<{a}|{b}>"
    assert fill("{{x}}", x="{{y}}", y="no") == "{{y}}"


def test_a_sentence_is_added_before_the_data_at_the_end() -> None:
    from evollab.evolve.rewrite import _append

    assert _append("Explain this", "Be brief.") == "Explain this. Be brief."
    assert _append("Explain this:\n\n```\nx\n```\n", "Be brief.") == "Explain this: Be brief.\n\n```\nx\n```"
    assert _append("```\nx\n```\nExplain this?", "Why?") == "```\nx\n```\nExplain this? Why?"
