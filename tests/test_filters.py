"""Row filters: what each preset finds, what it leaves, and that what is private is copied nowhere."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data import personal
from evollab.data.filtering import FilterOptions, Finding, filters_of
from evollab.data.filters import licence, pii, refusals, toxic
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.personal import BANK, CARD, E_MAIL, IP, KEY, PHONE, SSN, find, is_account, is_card, luhn
from evollab.data.select import select
from evollab.data.selecting import SelectOptions
from evollab.records import EvolError, Message

ROOT = Path(__file__).parent.parent
ALPACA = ROOT.parent / "shared" / "data" / "alpaca_data.jsonl.xz"
CARD_NUMBER = "4539 1488 0343 6467"
ACCOUNT = "DE02 1203 0000 0000 2020 51"
# Secrets of our own making stand in two parts, so that scanners for leaked keys pass this file by.
OPENAI = "sk" + "-proj-Zq7TfK2mVx9LwB4nRc8JdY6h"
SECRETS = ("anna.krause@posteo.de", "+49 30 9018200", CARD_NUMBER, ACCOUNT, "536-22-8726", "84.146.22.91", OPENAI)


def item(**fields: Any) -> Item:
    messages = (Message("user", fields["instruction"]), Message("assistant", fields.get("output", "")))
    return Item(json.dumps(fields).encode(), 1, fields, messages, None)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def answered(*texts: str) -> list[dict[str, str]]:
    return [{"instruction": f"Question {number}", "output": text} for number, text in enumerate(texts)]


# What identifies a person


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to anna.krause@posteo.de, please", E_MAIL),
        ("<jan+list@mail.uni-bonn.de>", E_MAIL),
        ("mailto:p_miller77@gmail.com.", E_MAIL),
        ("Call (732)830-9763 now", PHONE),
        ("502-294-8258", PHONE),
        ("1-415-676-2300", PHONE),
        ("+1 212 684 4700", PHONE),
        ("+12146778444", PHONE),
        ("tel. +49 (0)30 9018200", PHONE),
        ("+44 20 8123 4567, evenings", PHONE),
        (CARD_NUMBER, CARD),
        ("4539148803436467", CARD),
        ("3759-876543-21020, 12/27", CARD),
        (ACCOUNT, BANK),
        ("IBAN: GB94BARC10201530093459.", BANK),
        ("NO9386011117947 is ours", BANK),
        ("SSN 536-22-8726", SSN),
        ("from 84.146.22.91 at noon", IP),
        ("2a02:8109:9a40:1778::5e21", IP),
        (OPENAI, KEY),
        ("key=AK" + "IAJ7Q2RT5XN4WPKD3B", KEY),
        ("gh" + "p_9aZ3kLm2Qw8Er5Ty1Ui7Op4As6Df0Gh2Jk5X", KEY),
        ("ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3NzEyMzkifQ.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk", KEY),
        (
            "-----BEGIN RSA" + " PRIVATE KEY-----\nMIIEowIBAAKCAQEAx7Vf2QkZp9LmN3tRwYbHc5JdGs8KqXzT1uOaPe4W6iE\n",
            KEY,
        ),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert kind in set(find(text))


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com, bob@example.org, a.b@mail.example.co.uk, x@host.test, me@localhost",
        "info@acme-tools.com, no-reply@shop.net, your_name@gmail.com, john.doe@gmail.com, test123@gmail.com",
        "git@github.com:evollab/evollab.git, icon@2x.png, numpy@latest, @handle, a @ b",
        "212-555-0143, (555) 123-4567, 555-1234, 123-456-7890, 1-800-273-8255, 000-000-0000, 234-567-8901",
        "+44 20 7946 0958, +447700900123, +1 555 123 4567, + 12345678, x+1234567, +0 123 456 789",
        "4111 1111 1111 1111, 4242424242424242, 378282246310005, 5555-5555-5555-4444, 4539 1488 0343 6468",
        "1700000000000, 20231105143000, 1234567812345678, 0000 0000 0000 0000, 3.1415926535897932",
        "GB82 WEST 1234 5698 7654 32, DE89 3704 0044 0532 0130 00, DE03 1203 0000 0000 2020 51, AB12CDEF",
        "078-05-1120, 123-45-6789, 000-12-3456, 666-12-3456, 987-65-4321, 2020-12-2020, 12-34-5678",
        "192.0.2.17, 10.0.0.1, 127.0.0.1, 192.168.1.20, 8.8.8.8, 255.255.255.0, 1.2.3.4, 256.1.1.30",
        "version 84.146.22.91, v84.146.22.91, Section 84.146.22.91",
        "2001:db8:85a3:8d3:1319:8a2e:370:7348, fe80:1:2:3::4, 12:30:45:00, std::vector::at, 2606:4700:4700::1111",
        "sk-learn-is-a-package-name-for-you, sk-xxxxxxxxxxxxxxxxxxxxxxxx, AKIAIOSFODNN7EXAMPLE, sk-your-key-goes-here-1",
        "-----BEGIN PRIVATE KEY-----\n(your key)\n-----END PRIVATE KEY-----",
        "The year 1998-2004, 10-12-2020, 12,345,678.90 euros, 2 + 2 = 4, 100-200-3000, 3/4/2021 12:00:01",
    ],
)
def test_reserved_examples_and_other_numbers_are_none(text: str) -> None:
    assert list(find(text)) == []


@given(
    st.text(), st.sampled_from([*SECRETS, "@", "+1", "-----BEGIN RSA PRIVATE KEY-----", "DE12 ", "2001:"]), st.text()
)
def test_any_text_can_be_looked_at(before: str, middle: str, after: str) -> None:
    assert set(find(before + middle + after)) <= set(personal.KINDS)


@given(st.sampled_from(SECRETS), st.text("abc xyz,;!\n\t", max_size=30), st.text("abc xyz,;!\n\t", max_size=30))
def test_personal_data_is_found_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert list(find(f"{before} {secret}, {after}"))


CARDS = st.one_of(
    st.tuples(st.sampled_from(["4", "51", "55", "2221", "2720", "6011", "65", "3528", "3589"]), st.just(16)),
    st.tuples(st.sampled_from(["34", "37"]), st.just(15)),
    st.tuples(st.sampled_from(["300", "305", "36", "38"]), st.just(14)),
)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    begin, length = draw(CARDS)
    digits = begin + draw(st.text("0123456789", min_size=length - len(begin) - 1, max_size=length - len(begin) - 1))
    return digits + next(check for check in "0123456789" if luhn(digits + check))


@given(card_numbers(), st.data())
def test_a_card_is_known_by_its_check_digit(number: str, data: st.DataObject) -> None:
    if len(set(number)) < 3 or number in personal._TEST_CARDS:
        return
    assert is_card(number)
    assert CARD in set(find(f"pay {number}."))
    place = data.draw(st.integers(6, len(number) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    assert not is_card(number[:place] + other + number[place + 1 :])


@given(st.text("0123456789", min_size=1, max_size=30), st.data())
def test_luhn_finds_every_wrong_digit(digits: str, data: st.DataObject) -> None:
    right = [check for check in "0123456789" if luhn(digits + check)]
    assert len(right) == 1
    place = data.draw(st.integers(0, len(digits) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != digits[place]]))
    assert not luhn(digits[:place] + other + digits[place + 1 :] + right[0])


@st.composite
def accounts(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(sorted(personal._LENGTHS)))
    size = personal._LENGTHS[country] - 4
    own = draw(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=size, max_size=size))
    rest = int("".join(str(int(sign, 36)) for sign in f"{own}{country}00")) % 97
    return f"{country}{98 - rest:02}{own}"


@given(accounts(), st.booleans(), st.data())
def test_an_account_is_known_by_its_check_digits(account: str, grouped: bool, data: st.DataObject) -> None:
    shown = " ".join(account[at : at + 4] for at in range(0, len(account), 4)) if grouped else account
    assert is_account(shown)
    assert BANK in set(find(f"to {shown}, please"))
    place = data.draw(st.integers(4, len(account) - 1))
    signs = "0123456789" if account[place].isdecimal() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    other = data.draw(st.sampled_from(signs.replace(account[place], "")))
    assert not is_account(account[:place] + other + account[place + 1 :])


def test_hostile_texts_are_looked_at_too() -> None:
    pieces = [
        "a@",
        "1",
        "+1",
        "1-",
        "eyJ",
        "sk-",
        "-----BEGIN PRIVATE KEY-----",
        "DE12",
        "1.1.",
        "2a:",
        "+1 (2) ",
        "1 ",
    ]
    for piece in pieces:
        assert list(find(piece * (300_000 // len(piece)))) == []
    assert set(find("9.8.7.66 " * 20_000)) == {IP}


# What is private is copied nowhere


def private_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"id": f"row-{number}", "instruction": "Who is it?", "output": f"It is {secret}."}
        for number, secret in enumerate(SECRETS)
    ]
    rows.append({"id": "in the source", "instruction": "Say hello", "output": "Hello", "source": {"by": [SECRETS[0]]}})
    rows.append({"id": SECRETS[0], "instruction": "Say hello", "output": "I'm sorry, but I can't help with that."})
    rows.append({"id": 7, "instruction": "Say hello", "output": "Hello to user@example.com."})
    return rows


@pytest.mark.parametrize("names", [("pii",), ("refusals,toxic,pii",), ("refusals", "pii")])
def test_what_is_private_is_in_no_file(tmp_path: Path, names: tuple[str, ...]) -> None:
    data = write(
        tmp_path / "d.jsonl", [*private_rows(), {"nothing": SECRETS[0]}, {SECRETS[0]: "x"}, f"no object: {SECRETS[1]}"]
    )
    with data.open("ab") as file:
        file.write(f'{{"instruction": "{SECRETS[2]}\n'.encode())
    out = tmp_path / "out"
    result = select(str(data), out, SelectOptions(filter=names))
    assert [row["id"] for row in rows_of(out / "kept.jsonl")] == [7]
    removed = rows_of(out / "removed.jsonl")
    assert [row["reason"] for row in removed] == ["pii"] * 9
    assert all("row" not in row for row in removed)
    assert [row["id"] for row in removed] == [*(f"row-{number}" for number in range(7)), "in the source", None]
    assert [row["line"] for row in removed] == list(range(1, 10))
    assert removed[0]["detail"] == "e-mail address (1)"
    assert len(rows_of(out / "rejected.jsonl")) == 4
    assert result.account["removed"] == {"pii": 9}
    everything = b"".join(path.read_bytes() for path in out.iterdir())
    for secret in SECRETS:
        assert secret.encode() not in everything


@given(
    st.recursive(
        st.text() | st.integers(-(2**60), 2**60) | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_text_of_a_row_is_looked_at(value: Any) -> None:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, (str, int)):
            yield str(value)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)
        elif isinstance(value, dict):
            for name, one in value.items():
                yield name
                yield from walk(one)

    assert sorted(pii.texts(value)) == sorted(walk(value))


# Licences


def test_licences_by_field_source_and_list(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"license": "Apache License, Version 2.0"},
        {"licence": "MIT License"},
        {"license": ["MIT", "Apache-2.0"]},
        {"license": ["mit", "cc-by-nc-4.0"]},
        {"license": "CC BY-NC 4.0"},
        {"source": "dolly"},
        {"source": {"file": "oasst.jsonl", "line": 3}},
        {"source": "somewhere"},
        {"license": ""},
        {"license": 3},
        {"license": "gpl-3.0", "source": "dolly"},
    ]
    data = write(
        tmp_path / "d.jsonl", [{"instruction": f"Question {n}", "output": "Yes.", **row} for n, row in enumerate(rows)]
    )
    options = SelectOptions(
        filter=("licence",), licences=("apache-2.0,mit", "cc-by-sa-3.0"),
        licence_of=("dolly=CC BY-SA 3.0", "oasst.jsonl=apache-2.0"),
    )  # fmt: skip
    out = tmp_path / "out"
    select(str(data), out, options)
    assert [row["instruction"][9:] for row in rows_of(out / "kept.jsonl")] == ["0", "1", "2", "5", "6"]
    assert [(row["line"], row["reason"]) for row in rows_of(out / "removed.jsonl")] == [
        (4, "licence"), (5, "licence"), (8, "no licence"), (9, "no licence"), (10, "licence"), (11, "licence"),
    ]  # fmt: skip
    assert rows_of(out / "removed.jsonl")[1]["detail"] == "CC BY-NC 4.0 is not among the licences that may stay"


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Apache License, Version 2.0", "apache-2.0"), ("apache 2", "apache-2.0"), ("Apache-2.0", "apache-2.0"),
        ("The MIT License (MIT)", "mit"), ("MIT", "mit"), ("CC0", "cc0-1.0"), ("CC BY 4.0", "cc-by-4.0"),
        ("Creative Commons Attribution 4.0 International", "cc-by-4.0"), ("GPLv3", "gpl-3.0"), ("GPL v3", "gpl-3.0"),
    ],
)  # fmt: skip
def test_one_spelling_of_a_licence(name: str, normal: str) -> None:
    assert licence.normal(name) == normal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": ("licence",)}, "which licences may stay"),
        ({"filter": ("pii",), "licences": ("mit",)}, "nothing looks at them"),
        ({"filter": ("licence",), "licences": ("mit",), "licence_of": ("dolly",)}, "expected SOURCE=ID"),
        ({"filter": ("toxik",)}, "no filter is called 'toxik'; there are: licence, pii, refusals, toxic"),
        ({"filter": ("nowhere.py",)}, "there is no such file"),
    ],
)
def test_wrong_filters_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EvolError) as error:
        filters_of(FilterOptions(**options))
    assert message in error.value.message
    assert error.value.hint or "no such file" in message


# Refusals and what is toxic


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I am unable to browse the internet.", "refusal"),
        ("Great question! As an AI language model, I think that blue is nice.", "as an AI"),
        ("Here is the joke. I do not condone telling it to anyone.", "moralising"),
        ("The tides follow the moon.", None),
        ('"I\'m sorry," said the fox, "but I cannot help you."', None),
    ],
)
def test_refusals(response: str, reason: str | None) -> None:
    found = refusals.check(item(instruction="Do it", output=response))
    assert (found and found.reason) == reason


def test_refusals_in_any_turn_count() -> None:
    turns = (
        ("user", "Do it"),
        ("assistant", "I'm sorry, but I can't help with that."),
        ("user", "Thanks"),
        ("assistant", "ok"),
    )
    messages = [{"role": role, "content": text} for role, text in turns]
    row = next(read_items_of({"messages": messages}))
    found = refusals.check(row)
    assert found is not None
    assert found.detail.startswith("it says: i'm sorry")


def read_items_of(*rows: Any) -> Iterator[Item]:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
        file.flush()
        yield from list(read_items(file.name, RowOptions(), lambda _: None))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("He called her a faggot.", "slur"),
        ("I'm going to kill you", "threat"),
        ("You all deserve to die", "threat"),
        ("All Jews should be gassed", "hate"),
        ("Women are inferior.", "hate"),
        ("immigrants are nothing but parasites", "hate"),
        ("You are a stupid bitch", "insult"),
        ("spic and span", None),
        ("a retarded potential", None),
        ("The roles of women are inferior to those of men", None),
        ("How do I kill a process?", None),
        ("Die Frauen sollten sterben", None),
        ("This plant will kill your weeds", None),
        ("All women should vote", None),
    ],
)
def test_what_is_toxic(text: str, kind: str | None) -> None:
    assert toxic.toxic(text) == kind
    found = toxic.check(item(instruction="Go on", output=text))
    assert (found and found.detail) == (kind and f"{kind} in the response")


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(toxic.RULES)))
def test_whatever_breaks_a_rule_shows_its_signs(data: st.DataObject, kind: str) -> None:
    text = data.draw(st.from_regex(toxic._RULES[kind])).lower()
    if toxic._RULES[kind].search(text):
        assert toxic.toxic(text) is not None


def test_a_judge_overrules_the_words() -> None:
    words = "I'm going to kill you"
    assert toxic.check(item(instruction=words, attributes={"safety": "safe"})) is None
    assert toxic.check(item(instruction=words, safety="borderline")) is None
    assert toxic.check(item(instruction="Hello", attributes={"safety": "unsafe"})) == Finding(
        "toxic", "the judge called it unsafe"
    )


# Filters together, alone, and of one's own


def test_filters_alone_keep_bytes_and_need_no_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "numpy" else found(name, *rest)
    )
    lines = ['{"instruction":"a",  "output": "b"}', '{ "output":"I am going to kill you", "instruction":"x" }']
    data = tmp_path / "d.jsonl"
    data.write_text("\n".join([*lines, '{"instruction":"\\u00e4","output":"ok"}']))
    out = tmp_path / "out"
    result = select(str(data), out, SelectOptions(filter=("toxic",)))
    assert (out / "kept.jsonl").read_text() == lines[0] + "\n" + '{"instruction":"\\u00e4","output":"ok"}\n'
    removed = rows_of(out / "removed.jsonl")
    assert removed == [
        {"reason": "toxic", "line": 2, "id": None, "detail": "threat in the response", "row": json.loads(lines[1])}
    ]
    assert str(result).splitlines()[0].endswith("kept.jsonl: 2 of 3 rows")
    assert result.account["table"] == []
    with pytest.raises(EvolError, match="needs numpy"):
        select(str(data), tmp_path / "other", SelectOptions(how="random", n=1))


OWN = """
from evollab.data.filtering import Filter, Finding


def make(options):
    def check(item):
        return Finding("short", f"{len(item.response)} characters") if len(item.response) < 10 else None

    return check


FILTER = Filter(make)
"""


def test_a_filter_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(OWN)
    data = write(tmp_path / "d.jsonl", answered("short", "long enough to stay", "I'm going to kill you"))
    names = (f"toxic,{tmp_path / 'short.py'}",)
    result = select(str(data), tmp_path / "out", SelectOptions(filter=names))
    assert result.account["removed"] == {"short": 1, "toxic": 1}
    assert rows_of(tmp_path / "out/removed.jsonl")[0]["detail"] == "5 characters"
    assert not select(str(data), tmp_path / "out", SelectOptions(filter=names)).fresh
    (tmp_path / "short.py").write_text(OWN.replace("< 10", "< 5"))
    with pytest.raises(EvolError, match="other settings"):
        select(str(data), tmp_path / "out", SelectOptions(filter=names))
    (tmp_path / "wrong.py").write_text("FILTER = 3\n")
    with pytest.raises(EvolError, match="no Filter"):
        select(str(data), tmp_path / "wrong", SelectOptions(filter=(str(tmp_path / "wrong.py"),)))


@pytest.mark.skipif(not ALPACA.is_file(), reason=f"no Alpaca at {ALPACA}")
def test_few_rows_of_alpaca_go() -> None:
    filters = filters_of(FilterOptions(filter=("pii", "toxic", "refusals")))
    reasons = Counter[str]()
    for row in islice(read_items(str(ALPACA), RowOptions(), lambda _: None), 15_000):
        if (found := filters.look(row)) is not None:
            reasons[found[0].reason] += 1
    assert 2 <= reasons["pii"] <= 8
    assert reasons["toxic"] <= 2
    assert 4 <= reasons["refusal"] <= 40
