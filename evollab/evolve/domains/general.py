"""Evol-Instruct for any subject: five operations in depth, one in breadth (WizardLM, 2304.12244).

The method is the paper's, the words are ours. The literal markers (#The Given Prompt#, ...) are the
paper's, so that its rule against their leaking applies as published.
"""

from __future__ import annotations

from evollab.evolve.operation import Domain, Format, Operation, Tail, fill

_DEPTH = """\
You rewrite prompts. Take the prompt at the end and turn it into a version that a strong AI assistant finds \
somewhat harder. It must still make sense, be understood by people, and be answerable from what it says.

Make it harder in this one way: {{method}}

Keep to this:
- Write in the same language as the prompt, and as its author: a request, not an answer to it.
- Everything the prompt asks for already is kept. Names, numbers and quoted material stay as they are.
- The new prompt has {{budget}} more than the old one. No padding.
- Tables, code and data are part of the prompt. A marker such as [[BLOCK 1]] stands for such a part: copy the \
marker, once, to where the part belongs.
- Whoever reads the new prompt sees nothing else: it can't speak of an earlier version, and the words \
'#The Given Prompt#', '#Rewritten Prompt#', 'given prompt' and 'rewritten prompt' don't occur in it.
- Reply with the new prompt and nothing else.
{{context}}
#The Given Prompt#:
{{instruction}}

#Rewritten Prompt#:
"""

_METHODS = {
    "add-constraint": "put in one more constraint or requirement that a good answer then has to meet.",
    "deepen": "if the prompt asks about some matter, make the question go deeper and reach wider: causes, "
    "consequences, exceptions or links to what lies next to it. If it sets a task, widen what the task covers.",
    "concretise": "take general notions in it and put more specific ones in their place: a particular kind, "
    "place, person, quantity or situation.",
    "reasoning": "if a few simple thoughts are enough to answer it, change it so that it plainly asks for an "
    "answer in several steps that build on each other.",
}

_COMPLICATE = """\
You rewrite prompts. Take the prompt at the end and turn it into a version that a strong AI assistant finds \
somewhat harder, by giving it {{format}} to work on. It must still make sense, be understood by people, and be \
answerable from what it says.

Keep to this:
- Make up a small, realistic piece of {{format}} (3 to 12 lines) that fits the subject, and put it into the new \
prompt inside a code fence. The new prompt asks something that can only be answered with it.
- The data are input. The answer is not in them.
- Write in the same language as the prompt, as its author. Everything the prompt asks for already is kept.
- Outside the code fence the new prompt has {{budget}} more than the old one.
- A marker such as [[BLOCK 1]] stands for a part that stays as it is: copy the marker, once, to where it belongs.
- Whoever reads the new prompt sees nothing else: it can't speak of an earlier version, and the words \
'#The Given Prompt#', '#Rewritten Prompt#', 'given prompt' and 'rewritten prompt' don't occur in it.
- Reply with the new prompt and nothing else.

An example.
Before:
{{before}}
After:
{{after}}
{{context}}
#The Given Prompt#:
{{instruction}}

#Rewritten Prompt#:
"""

_BREADTH = """\
You write prompts for AI assistants. Read the prompt at the end for inspiration and write a brand-new one.

Keep to this:
- The new prompt is from the same field, but about something rarer, of the kind that few people would ask.
- It is about as long and about as difficult.
- It stands alone, makes sense, and can be understood by people and answered by an assistant without any \
further material.
- Write in the same language.
- The words '#The Given Prompt#', '#Created Prompt#', 'given prompt' and 'created prompt' don't occur in it.
- Reply with the new prompt and nothing else.
{{context}}
#The Given Prompt#:
{{instruction}}

#Created Prompt#:
"""

_FORMATS = (
    Format(
        "an XML document",
        "xml",
        "Explain what a purchase order is.",
        """\
Explain what a purchase order is, using this one, and say which of its lines costs most in total.

```xml
<order id="4711">
  <line item="steel bolts" quantity="200" unit_price="0.35"/>
  <line item="torque wrench" quantity="2" unit_price="48.00"/>
  <line item="safety gloves" quantity="25" unit_price="3.10"/>
</order>
```""",
    ),
    Format(
        "an SQL table",
        "sql",
        "How do I find customers who have not bought anything?",
        """\
How do I find, with one query, the customers in these tables who have not bought anything since March 2023?

```sql
CREATE TABLE customers (id INTEGER, name TEXT);
CREATE TABLE sales (customer_id INTEGER, day DATE, amount REAL);
INSERT INTO customers VALUES (1, 'Ines'), (2, 'Paul'), (3, 'Mara');
INSERT INTO sales VALUES (1, '2023-04-02', 19.5), (2, '2022-11-30', 7.0);
```""",
    ),
    Format(
        "Python code",
        "python",
        "What does it mean that lists are mutable?",
        """\
What does it mean that lists are mutable? Say what this program prints and which line shows it.

```python
def add_guest(name, guests=[]):
    guests.append(name)
    return guests

add_guest("Ada")
print(add_guest("Grace"))
```""",
    ),
    Format(
        "an HTML page",
        "html",
        "Give me advice on making web forms easier to use.",
        """\
Give me advice on making this sign-up form easier to use, above all for people with a screen reader.

```html
<form action="/join">
  <input type="text" placeholder="Name">
  <input type="text" placeholder="dd/mm/yy">
  <div onclick="send()">Go</div>
</form>
```""",
    ),
    Format(
        "a shell session",
        "bash",
        "Why might a server run out of disk space?",
        """\
Why might this server run out of disk space, and which directory would you look into first?

```bash
$ df -h /
Filesystem      Size  Used Avail Use% Mounted on
/dev/sda1        40G   38G  1.9G  96% /
$ du -sh /var/log /var/lib/docker /home
21G   /var/log
9.4G  /var/lib/docker
2.1G  /home
```""",
    ),
    Format(
        "JSON data",
        "json",
        "Suggest how to plan meals for a week.",
        """\
Suggest how to plan meals for a week with what is in this pantry, using up first what spoils first.

```json
{
  "people": 3,
  "pantry": [
    {"item": "rice", "grams": 1500, "best_before": "2026-01-01"},
    {"item": "spinach", "grams": 400, "best_before": "2025-03-04"},
    {"item": "eggs", "count": 10, "best_before": "2025-03-12"}
  ]
}
```""",
    ),
)


def _examples(heading: str, label: str, lead: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """A plain text of worked examples that ends in the middle of the last one."""
    blocks = [f"Task: {task}\n{label}: {lead} {rest}" for task, rest in pairs]
    return "\n\n".join([heading, *blocks, f"Task: {{{{instruction}}}}\n{label}: {lead}"])


_TAILS = {
    "add-constraint": Tail(
        _examples(
            "Each task gets one more requirement that fits it.",
            "Requirement",
            "Your answer must",
            (
                ("Write a short poem about the sea.", "mention a lighthouse and stay under twelve lines."),
                ("How can I sleep better?", "name only methods that need no medicine and cost nothing."),
                ("Describe how a bill becomes a law.", "use words that a ten-year-old child understands."),
                ("Suggest a name for a bakery.", "give three names that all begin with the same letter."),
            ),
        ),
        "Your answer must",
    ),
    "deepen": Tail(
        _examples(
            "Each task gets a second question that goes deeper into the same subject.",
            "Second question",
            "Also explain",
            (
                ("What causes rust?", "why salt water makes iron rust faster than fresh water does."),
                ("Write a short poem about the sea.", "which feelings your images of the sea are meant to raise."),
                ("How can I sleep better?", "how light in the evening changes the time at which we get tired."),
                ("List three famous painters.", "how each of them changed the way later artists worked."),
            ),
        ),
        "Also explain",
    ),
    "concretise": Tail(
        _examples(
            "Each task gets a specific situation in which it is asked.",
            "Situation",
            "Assume that",
            (
                ("How can I sleep better?", "I work night shifts in a hospital and share a room with my brother."),
                ("Suggest a name for a bakery.", "the bakery sells only rye bread and stands beside an old harbour."),
                ("Write a letter to a landlord.", "the heating has been broken for nine days in January."),
                ("Explain what a budget is.", "the reader is a student who earns 600 euros a month."),
            ),
        ),
        "Assume that",
    ),
    "reasoning": Tail(
        _examples(
            "Each task is split: first comes a step of thinking that the answer is built on.",
            "First step",
            "Before you answer, first",
            (
                ("Suggest a name for a bakery.", "list what customers should feel, then say how each name does that."),
                ("What causes rust?", "name the substances involved, then describe step by step what they do."),
                ("Which phone should I buy?", "compare three kinds of users, then decide for each of them."),
                ("How can I save water at home?", "estimate which rooms use most water, then begin with the largest."),
            ),
        ),
        "Before you answer, first",
    ),
    "complicate-input": Tail(
        "For each task, name four things that belong to it.\n\n"
        "Task: Suggest how to plan meals for a week.\nThings: rice; spinach; eggs; cheese\n\n"
        "Task: How can a small shop keep its customers?\nThings: regular buyers; tourists; students; pensioners\n\n"
        "Task: Explain what a purchase order is.\nThings: steel bolts; torque wrench; safety gloves; paint\n\n"
        "Task: Write a short poem about the sea.\nThings: lighthouse; gull; tide; harbour\n\n"
        "Task: {{instruction}}\nThings:",
        "",
    ),
    "in-breadth": Tail(
        "Pairs of tasks from the same field. The second is new, about something rarer.\n\n"
        "Task: Write a short poem about the sea.\n"
        "Rarer task: Write a short poem about a salt mine that was given up a hundred years ago.\n\n"
        "Task: How can I sleep better?\n"
        "Rarer task: How can a crew that crosses three time zones a week keep its sleep healthy?\n\n"
        "Task: Classify these animals as mammals or birds: cat, eagle.\n"
        "Rarer task: Classify these creatures as sponges or corals: sea fan, glass rope, brain coral.\n\n"
        "Task: Explain what a budget is.\n"
        "Rarer task: Explain what a sinking fund is and when a village school would need one.\n\n"
        "Task: {{instruction}}\nRarer task:",
        "",
    ),
}


def _depth(name: str) -> Operation:
    slots = {"budget": "{{budget}}", "context": "{{context}}", "instruction": "{{instruction}}"}
    return Operation(name, "depth", fill(_DEPTH, method=_METHODS[name], **slots), _TAILS[name])


DOMAIN = Domain(
    "general",
    (
        *map(_depth, _METHODS),
        Operation("complicate-input", "depth", _COMPLICATE, _TAILS["complicate-input"], _FORMATS),
        Operation("in-breadth", "breadth", _BREADTH, _TAILS["in-breadth"]),
    ),
    leaks=("[[BLOCK", "rarer task", "second question:", "first step:"),
)
