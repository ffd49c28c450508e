"""Attributes that need no model: each on texts that have it, and on near misses."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data import content, phrases, tokencount, variety
from evollab.data.answerform import ANSWER_FORMATS, answer_format
from evollab.data.attributes import ATTRIBUTES, attributes, chosen
from evollab.data.items import Item, RowOptions, read_items, with_attributes
from evollab.data.language import language_of
from evollab.data.tokencount import ESTIMATE, token_counter
from evollab.records import EvolError, Message, Role

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def item(*turns: str, system: str = "") -> Item:
    """Turns of a user and an assistant, in turn."""
    roles: Sequence[Role] = ("user", "assistant")
    said = [Message(roles[at % 2], text) for at, text in enumerate(turns)]
    messages = (Message("system", system), *said) if system else tuple(said)
    return Item(b'{"a":1}', 1, {"a": 1}, messages, None)


def of(*turns: str, system: str = "") -> dict[str, object]:
    return attributes(item(*turns, system=system))


# All together


def test_a_row_in_full() -> None:
    found = of("Name two primes.", "2 and 3")
    assert tuple(found) == tuple(ATTRIBUTES)
    assert found == {
        "characters": 23, "words": 6, "tokens": 6, "turns": 1, "response_words": 3, "response_tokens": 2,
        "language": "und", "has_code": False, "has_math": False, "has_table": False, "has_url": False,
        "answer_format": "list", "repetition": 0.0, "lexical_diversity": None, "refusal": False, "moralising": False,
    }  # fmt: skip


def test_several_turns() -> None:
    found = of("Hi", "Hello there", "Write it in Python", "```\nx = 1\n```", system="Be kind")
    assert found["turns"] == 2
    assert found["response_words"] == 2 + 5
    assert found["words"] == 2 + 1 + 2 + 4 + 5
    assert found["has_code"]
    assert found["answer_format"] == "code"


def test_a_phrase_in_any_turn_counts() -> None:
    sorry = "I'm sorry, but I can't help with that."
    assert of("How do I pick a lock?", sorry, "Please!", "Take a pick and a wrench.")["refusal"]
    assert not of("Say sorry to my aunt.", "Dear aunt, I'm sorry.", "Shorter!", "Sorry, aunt.")["refusal"]


def test_repetition_is_the_worst_turns_and_not_across_turns() -> None:
    line = "one two three four five six seven eight nine ten"
    assert of("Say it", line, "Again", line)["repetition"] == 0.0
    assert of("Say it", line, "Twice", f"{line} {line}")["repetition"] == 0.5


def test_a_row_without_a_response() -> None:
    found = of("Who are you?")
    assert found["response_words"] == found["response_tokens"] == 0
    assert found["repetition"] == 0.0
    assert found["lexical_diversity"] is None
    assert not found["refusal"]


def test_only_what_is_asked_for() -> None:
    assert attributes(item("Hi", "Ho"), names=("turns", "words")) == {"turns": 1, "words": 2}


def test_they_are_json_and_go_into_the_row() -> None:
    row = item("Hi", "Ho")
    merged = json.loads(with_attributes(row, attributes(row, names=("turns",))))
    assert merged == {"a": 1, "attributes": {"turns": 1}}


@given(st.lists(st.text(max_size=200), min_size=1, max_size=3), st.booleans())
def test_any_text_has_attributes(turns: list[str], twice: bool) -> None:
    found = of(*(turns * 2 if twice else turns))
    assert json.loads(orjson.dumps(found)) == found
    assert found["answer_format"] in ANSWER_FORMATS
    for share in ("repetition", "lexical_diversity"):
        assert found[share] is None or 0 <= float(str(found[share])) <= 1


@pytest.mark.parametrize(
    "text",
    ["a" * 300_000, "sorry " * 50_000, "as an ai i " * 30_000, "$a " * 90_000, "|-|\n" * 70_000, "1+1=" * 70_000,
     "important to note " * 15_000, "```\n" * 60_000, "\\[" * 150_000, "<a " * 90_000, "in a " * 60_000, "\n" * 300_000,
     "漢" * 300_000, "def f(" * 50_000, "a,b\n" * 70_000, "name two " * 40_000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_hostile_texts_end(text: str) -> None:
    """Each of these takes some hundredths of a second; a pattern that is not linear would take hours."""
    assert of(text, text)["turns"] == 1


def test_unknown_names_tell_what_exists() -> None:
    assert chosen(["words", " turns", "words"], ATTRIBUTES) == ("words", "turns")
    with pytest.raises(EvolError, match=r"'langauge'; there are: characters, words") as caught:
        chosen(["langauge"], ATTRIBUTES)
    assert caught.value.hint == "did you mean language?"
    with pytest.raises(EvolError) as caught:
        chosen(["zzz"], ATTRIBUTES)
    assert caught.value.hint == ""


# Tokens


def tokenizer_file(folder: Path) -> Path:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[UNK]": 0, "<s>": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken("<s>", special=True)])
    made.enable_truncation(2)
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_tokens_by_a_tokenizer_or_an_estimate(tmp_path: Path) -> None:
    assert token_counter(None) is ESTIMATE
    assert [ESTIMATE.count(text) for text in ("", "abcd", "abcde", "привет")] == [0, 1, 2, 3]
    assert ESTIMATE.name.startswith("an estimate")
    path = tokenizer_file(tmp_path)
    for given_path in (path, tmp_path):
        counter = token_counter(str(given_path))
        assert counter.name == f"tokenizer {tmp_path.name}"
        assert counter.count("one two three four") == 4  # not cut to two, as the file asks for
    found = attributes(item("one two", "three"), token_counter(str(path)))
    assert (found["tokens"], found["response_tokens"]) == (3, 1)


def test_special_tokens_and_half_characters_are_text(tmp_path: Path) -> None:
    counter = token_counter(str(tokenizer_file(tmp_path)))
    assert counter.count("<s>") == 3
    assert counter.count("a \ud800") == 2


def test_a_tokenizer_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError, match="there is no such file"):
        token_counter(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(EvolError, match="no tokenizer"):
        token_counter(str(tmp_path))
    monkeypatch.setattr(tokencount.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvolError, match="not installed") as caught:
        token_counter(str(tmp_path))
    assert caught.value.hint == "pip install tokenizers"


# Language

SENTENCES = {
    "en": ("What is the capital of France?", "Write a short story about a lonely robot who learns to paint."),
    "de": ("Was ist die Hauptstadt von Frankreich?", "Schreibe eine kurze Geschichte über einen einsamen Roboter."),
    "fr": ("Quelle est la capitale de la France ?", "Donne trois conseils pour rester en bonne santé."),
    "es": ("¿Cuál es la capital de Francia?", "Escribe un cuento corto sobre un robot solitario."),
    "pt": ("Qual é a capital da França?", "Dê três dicas para se manter saudável."),
    "it": ("Qual è la capitale della Francia?", "Dai tre consigli per restare in salute."),
    "nl": ("Wat is de hoofdstad van Frankrijk?", "Geef drie tips om gezond te blijven."),
    "pl": ("Jaka jest stolica Francji?", "Napisz krótkie opowiadanie o samotnym robocie."),
    "sv": ("Vad är huvudstaden i Frankrike?", "Skriv en kort berättelse om en ensam robot."),
    "tr": ("Fransa'nın başkenti neresidir?", "Yalnız bir robot hakkında kısa bir hikaye yaz."),
    "ru": ("Какая столица Франции?", "Дай три совета, как оставаться здоровым."),
    "uk": ("Яка столиця Франції?", "Дай три поради, як залишатися здоровим."),
    "zh": ("法国的首都是哪里？", "给出三个保持健康的建议，并解释原因。"),
    "ja": ("フランスの首都はどこですか？", "孤独なロボットの短い物語を書いてください。"),
    "ko": ("프랑스의 수도는 어디입니까?", "외로운 로봇에 대한 짧은 이야기를 쓰세요."),
    "ar": ("ما هي عاصمة فرنسا؟", "أعط ثلاث نصائح للحفاظ على الصحة."),
    "hi": ("फ्रांस की राजधानी क्या है?", "स्वस्थ रहने के लिए तीन सुझाव दीजिए।"),
    "vi": ("Thủ đô của Pháp là gì?", "Viết một truyện ngắn về một con rô-bốt cô đơn."),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_languages(language: str) -> None:
    assert [language_of(sentence) for sentence in SENTENCES[language]] == [language] * 2


@pytest.mark.parametrize("text", ["", "42", "12 + 30 = 42", "OK", "sdkfj wlekrj qwpoei xcvbn", "https://example.com/a"])
def test_what_has_no_language(text: str) -> None:
    assert language_of(text) == "und"


def test_the_response_tells_where_the_prompt_is_short() -> None:
    assert language_of("List 3 birds", "The robin, the blackbird and the wren are birds that live in gardens.") == "en"
    assert language_of("Übersetze ins Englische: Der Hund schläft im Garten.", "The dog is asleep.") == "de"


def test_code_does_not_tell() -> None:
    code = "```python\nfor nom in les_animaux:\n    imprimer(nom, la_couleur)\n```"
    assert language_of(f"Explain what this code does, line by line.\n{code}") == "en"


def test_language_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from evollab.data import language

    language._identifier.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvolError, match="py3langid") as caught:
        language_of("Hello")
    assert "pip install 'evollab[data]'" in caught.value.hint
    monkeypatch.undo()
    assert language_of("What is the capital of France?") == "en"


# What stands in a text


@pytest.mark.parametrize(
    "text",
    ["```\nanything\n```", "def add(a, b):\n    return a + b", "Use this: SELECT name FROM users WHERE id = 3;",
     'The tag <div class="box"> opens it', "#include <stdio.h>\nint main() { return 0; }", "x = compute(3)\nprint(x)",
     "for (int i = 0; i < 3; i++) {\n  total += i;\n}", ".box {\n  color: red;\n}", '{\n  "name": "Ann",\n  "age": 3\n}',
     "const f = (x) => { return x; }", "git clone https://example.com/a.git", "#!/bin/bash\necho hello"],
    ids=range(12),
)  # fmt: skip
def test_code(text: str) -> None:
    assert content.has_code(text)


@pytest.mark.parametrize(
    "text",
    ["Write a function that adds two numbers (any two).", "I select apples from the basket; you import pears.",
     "Steps:\n1. Open the box (carefully).\n2. If you can: smile.", "Dear Ann,\nfor now: goodbye.\nYours (always)",
     "The set {1, 2, 3} has three members; the set {4} has one.", "Ingredients:\n- flour (200 g)\n- eggs; three of them",
     "He costs $ 5 (or less) and 3 < 4 > 2."],
    ids=range(7),
)  # fmt: skip
def test_no_code(text: str) -> None:
    assert not content.has_code(text)


@pytest.mark.parametrize(
    "text",
    [r"so \frac{1}{2} of it", "$x^2 + 1$", "$$\\int_0^1 f$$", r"\(a+b\)", r"\[ \sum_i x_i \]", "3 + 4 = 7",
     "Solve 2x - 5 = 15.", "f(x) = x", "a² + b² = c²", "the sum ∑ i", "x = 6", "48/2=24 clips", "√16 is 4", "x ≤ 3 + y2"],
)  # fmt: skip
def test_math(text: str) -> None:
    assert content.has_math(text)


@pytest.mark.parametrize(
    "text",
    ["It costs $5 to $10.", "Between $5 and $7 a piece", "a - b", "the years 1914-1918", "x marks the spot", "C++ and F#",
     "```\nx = 1 + 2\n```", "let x = 5;\nlet y = x + 1;", "a -> b => c", "24/7 service = good", "read and/or write"],
)  # fmt: skip
def test_no_math(text: str) -> None:
    assert not content.has_math(text)


@pytest.mark.parametrize(
    "text",
    ["| a | b |\n|---|---|\n| 1 | 2 |", "a | b\n--- | ---\n1 | 2", "<table><tr>", r"\begin{tabular}{ll}",
     "name\tage\nAnn\t3\nBob\t4", "a,b,c\n1,2,3\n4,5,6", "x;y;z\n1;2;3\n4;5;6", "Jack | age | 9\nJack | town | Rome\nJack | pet | cat"],
    ids=range(8),
)  # fmt: skip
def test_tables(text: str) -> None:
    assert content.has_table(text)


@pytest.mark.parametrize(
    "text",
    ["a | b", "Yes, no, and perhaps\nRed, green, and blue\nOne, two, and three", "---\ntext\n---",
     "He earned $30,000, she 1,000\nand 20,000, then 2,000\nor 10,000, not 3,000", "a||b\nc||d\ne||f",
     "f(a,b,c);\ng(a,b,c);\nh(a,b,c);", "one,two,three\nfour,five,six"],
    ids=range(7),
)  # fmt: skip
def test_no_tables(text: str) -> None:
    assert not content.has_table(text)


def test_addresses() -> None:
    for text in ("see https://example.com/a?b=c", "at www.example.org today", "(http://a.b)"):
        assert content.has_url(text)
    for text in ("https", "example.com", "the www. of old", "a://b", "http:// nothing"):
        assert not content.has_url(text)


# The format asked for

ASKS = {
    "json": ["Convert this table into JSON.", "Return a JSON object with two keys.", "List three birds in JSON format"],
    "xml": ["Turn it into valid XML.", "Write the HTML code for a button.", "Describe it as YAML"],
    "csv": ["Output the names as CSV.", "Give them to me in comma-separated form"],
    "table": ["Create a table of five rivers.", "Compare them in a table.", "Show it in tabular form"],
    "code": ["Write a Python function that sorts a list.", "Solve this in C++.", "Debug the following code: x = 1",
             "Create a SQL query for all users", "Implement a regular expression for dates"],
    "choice": ["Classify the text as spam or ham.", "Which of the following is a fruit?", "Pick the odd one out: a, b",
               "What is 2+2?\nA) 3\nB) 4", "Is the review positive or negative?"],
    "yes-no": ["Is Pluto a planet?", "Answer yes or no: is it raining?", "Determine whether the sentence is correct.",
               "True or false: fish swim."],
    "number": ["How many legs has a spider?", "Calculate the area of a circle of radius 3.", "What is 12 * 4?",
               "Find the average of 1, 2 and 3."],
    "essay": ["Write an essay about the sea.", "Compose a short poem.", "Tell me a story about a fox",
              "Draft a letter to my landlord"],
    "list": ["List five rivers.", "Give me three tips for sleeping well.", "What are the steps to bake bread?",
             "Suggest some names for a cat", "Generate three blog post titles"],
    "text": ["Why is the sky blue?", "Explain the word table of contents.", "Paraphrase: the dog barked.",
             "Tell me about the code of honour of the knights", ""],
}  # fmt: skip


@pytest.mark.parametrize("form", ASKS)
def test_formats_asked_for(form: str) -> None:
    assert {text: answer_format(text) for text in ASKS[form]} == dict.fromkeys(ASKS[form], form)


def test_every_format_is_told() -> None:
    assert tuple(ANSWER_FORMATS) == tuple(ASKS)


def test_the_end_of_a_long_prompt_counts() -> None:
    assert answer_format("The sea was calm. " * 500 + "\nAnswer with yes or no.") == "yes-no"


# Repetition and variety


def gopher(words: list[str], n: int) -> float:
    """The measure as its definition says, slowly."""
    covered: set[int] = set()
    for start in range(len(words) - n + 1):
        if words[start : start + n] in [words[at : at + n] for at in range(start)]:
            covered |= set(range(start, start + n))
    return sum(len(words[at]) for at in covered) / sum(map(len, words)) if words else 0.0


@given(st.lists(st.sampled_from(["a", "bb", "ccc"]), max_size=40))
def test_repetition_is_what_its_definition_says(words: list[str]) -> None:
    assert variety.repetition(words) == pytest.approx(gopher(words, variety.GRAM))


def test_repetition_by_hand() -> None:
    line = "the cat sat on the mat and looked at me".split()
    assert variety.repetition(line) == 0.0
    assert variety.repetition(line * 2) == 0.5
    assert variety.repetition(line * 10) == pytest.approx(0.9)
    assert variety.repetition(line[:4] * 1) == 0.0


@given(st.lists(st.sampled_from("abcdefgh"), max_size=120))
def test_diversity_is_the_mean_over_windows(words: list[str]) -> None:
    windows = [words[at : at + variety.WINDOW] for at in range(len(words) - variety.WINDOW + 1)]
    expected = sum(len(set(one)) / variety.WINDOW for one in windows) / len(windows) if windows else None
    assert variety.lexical_diversity(words) == (None if expected is None else pytest.approx(expected))


def test_diversity_does_not_fall_with_length() -> None:
    words = [f"w{number % 70}" for number in range(3000)]
    short, long = variety.lexical_diversity(words[:100]), variety.lexical_diversity(words)
    assert short == long == 1.0
    assert len(set(words)) / len(words) < 0.03


def test_words_of_scripts_without_blanks() -> None:
    assert variety.words_of("The dog's Café, 3 times!") == ["the", "dog's", "café", "3", "times"]
    assert variety.words_of("猫は a寝る") == ["猫", "は", "a", "寝", "る"]
    assert variety.repetition(variety.words_of("今日は良い天気です。" * 2)) == 0.5


# Phrases

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I cannot provide verbatim excerpts from copyrighted texts.",
    "I am sorry. I am unable to assist with this request.",
    "Sorry, the task involves visual output. We cannot complete this task with a GPT language model.",
    "Unfortunately, I am not able to browse the internet.",
    "I cannot fulfill this request.",
    "I can't directly access real-time data.",
    "I apologize, but promoting hate goes against my principles. I will not engage in it.",
    "As an AI language model, I don't have personal opinions.",
    "That is a fine question. However, as an AI, I cannot feel joy.",
    "I am just an AI and have no body.",
    "This instruction cannot be completed by a GPT language model.",
    "I don't have access to your calendar.",
    "I'm sorry, but I don't have enough information to answer.",
]
NO_REFUSALS = [
    ("Write an apology to a customer.", "I'm sorry that you are not happy with your purchase. We will refund it."),
    ("Write a story.", "Tom looked at her. \"I'm sorry, I can't help you with that,\" he said."),
    ("Write a story.", "\"I'm sorry, but I can't help you,\" said Tom, and closed the door."),
    ("Decline an invitation.", "I'm sorry, I can't make it to your party on Sunday."),
    ("Write a letter.", "Dear Mr Hall,\nunfortunately, I cannot assist you with the move."),
    ("Write a dialogue.", "Clerk: I'm sorry, I can't give you a refund.\nAnn: Why?"),
    ("Write a poem.", "I can't help but smile at the morning sun."),
    ("How was it?", "I can't wait to share the news with everyone!"),
    ("What can't a language model do?", "A language model cannot feel."),
    ("Write about robots.", '"As an AI, I cannot lie," the robot said.'),
    ("Make it formal.", "I am sorry to inform you that I will not be able to attend."),
    ("Explain AI.", "As an AI system learns, it cannot always explain its choices."),
    ("Why did the plan fail?", "The plan could not be carried out because of the rain."),
    ("Is it hard?", "Unfortunately, the law does not answer this question."),
]


@pytest.mark.parametrize("response", REFUSALS)
def test_refusals(response: str) -> None:
    assert phrases.refusal(response, "Tell me.")
    assert phrases.refusal(response.upper(), "Tell me.")


@pytest.mark.parametrize(("prompt", "response"), NO_REFUSALS)
def test_no_refusals(prompt: str, response: str) -> None:
    assert phrases.refusal(response, prompt) is None


LECTURES = [
    ("Tell a joke about my boss.", "It's important to remember that jokes can be hurtful."),
    ("Tell a joke about blondes.", "I cannot condone jokes that play on people's looks."),
    ("Write a roast.", "I must remind you that mocking others is wrong."),
    ("How can I copy a film?", "Copying films is illegal and unethical."),
    ("Who would win?", "Remember that everyone deserves to be treated with dignity."),
    ("Rank these people.", "It would not be appropriate for me to rank people."),
    ("How do I cheat at cards?", "Cheating goes against ethical principles. Play fair!"),
    ("How do I win a fight?", "Violence is never the answer."),
]
NO_LECTURES = [
    ("How do I cook rice?", "It is important to note that brown rice takes longer."),
    ("Discuss the ethics of cloning.", "It is important to consider whether cloning is unethical."),
    ("Is it wrong to lie?", "Many hold that lying is immoral; others see it as harmless."),
    ("Write a letter to a senator.", "I urge you to always respect the will of the people."),
    ("Write a speech.", "I encourage you to dream big and never give up."),
    ("How do I sort a list?", "It is not appropriate to sort in place here. Remember to call sorted()."),
    ("What is a virtue?", "Courage, wisdom and temperance are virtues."),
    ("Describe him.", 'He said: "I do not condone violence," and left.'),
    ("How does sunscreen work?", "Remember to put it on again after swimming."),
]


@pytest.mark.parametrize(("prompt", "response"), LECTURES)
def test_lectures(prompt: str, response: str) -> None:
    assert phrases.moralising(response, prompt)


@pytest.mark.parametrize(("prompt", "response"), NO_LECTURES)
def test_no_lectures(prompt: str, response: str) -> None:
    assert phrases.moralising(response, prompt) is None


def test_speaking_of_itself() -> None:
    assert phrases.self_reference("As an AI language model, I can list them.") == "as an ai language model, i"
    assert phrases.self_reference("As of my knowledge cutoff, he is president.")
    for text in ("AI is a field.", "She works as an air hostess and I like it.", "A language model predicts words."):
        assert phrases.self_reference(text) is None


@given(st.text(max_size=300))
def test_what_is_found_stands_there(text: str) -> None:
    for found in (phrases.refusal(text), phrases.moralising(text), phrases.self_reference(text)):
        assert found is None or found[:10] in " ".join(text.lower().replace("’", "'").split())


# Real data, where it is at hand


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder of real data sets at {DATA}")
def test_on_real_data() -> None:
    def share(name: str, attribute: str) -> float:
        found = [attributes(row, names=(attribute,))[attribute] for row in rows(name)]
        return sum(map(bool, found)) / len(found)

    def rows(name: str) -> list[Item]:
        return list(read_items(str(DATA / name), RowOptions(), lambda _: None))

    assert share("math500.jsonl.xz", "has_math") == 1.0
    assert share("code_alpaca_2k.jsonl.xz", "has_code") > 0.75
    assert share("dolly_hhrlhf_small.jsonl.xz", "has_code") < 0.01
    assert share("alpaca_en_demo_1000.jsonl.xz", "refusal") < 0.05
    languages = [attributes(row, names=("language",))["language"] for row in rows("dolly_hhrlhf_small.jsonl.xz")]
    assert languages.count("en") / len(languages) > 0.99
    assert not math.isnan(share("alpaca_en_demo_1000.jsonl.xz", "moralising"))
