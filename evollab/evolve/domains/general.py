"""Evol-Instruct for any subject: five operations in depth, one in breadth (WizardLM, 2304.12244).

The method is the paper's, the words are ours. The literal markers (#The Given Prompt#, ...) are the
paper's, so that its rule against their leaking applies as published.
"""

from __future__ import annotations

from evollab.evolve.operation import Domain, Format, Operation, Tail
from evollab.llm.fill import fill

_DEPTH = """\
You rewrite prompts. Take the prompt at the end and turn it into a version that a strong AI assistant finds \
somewhat harder. It must still make sense, be understood by people, and be answerable from what it says.

Make it harder in this one way: {{method}}

Keep to this:
- Write in the same language as the prompt, and as its author: a request, not an answer to it.
- Everything the prompt asks for already is kept. Names, numbers and quoted material stay as they are.
- The new prompt has {{budget}} more than the old one. No padding.
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


def _tail(heading: str, label: str, lead: str, pairs: tuple[tuple[str, str], ...], *, free: bool = False) -> Tail:
    """A plain text of worked examples that breaks off in the middle of the last one."""
    blocks = [f"Task: {task}\n{label}: {lead} {rest}" for task, rest in pairs]
    prompt = "\n\n".join([heading, *blocks, f"Task: {{{{instruction}}}}\n{label}: {lead}"])
    return Tail(prompt, lead, free)


_TAILS = {
    "add-constraint": (
        _tail(
            "Each task gets one more requirement that fits its subject.",
            "Requirement",
            "Your answer must mention",
            (
                ("Write a short poem about the sea.", "a lighthouse and the smell of tar."),
                ("How can I sleep better?", "at least one habit that costs nothing."),
                ("Rewrite this sentence in a formal tone: We can't come.", "a reason why nobody can come."),
                ("Explain how a bill becomes a law.", "the moment at which a bill can still be stopped."),
                ("Which is larger, 3/4 or 2/3?", "the common denominator of both fractions."),
            ),
        ),
        _tail(
            "Each task gets a reader for whom the answer has to be written.",
            "Reader",
            "Write the answer for",
            (
                ("What causes rust?", "a farmer who leaves his plough in the rain."),
                ("Write a short poem about the sea.", "an old sailor who can no longer leave his village."),
                ("Explain how a bill becomes a law.", "a class of ten-year-olds who have never seen a parliament."),
                ("Give three uses of vinegar.", "a tenant who may not use strong chemicals."),
                ("Sort these numbers: 7, 2, 9.", "a child who is just learning to compare numbers."),
            ),
            free=True,
        ),
        _tail(
            "Each task gets one thing that the answer has to do without.",
            "Limit",
            "Your answer must not",
            (
                ("How can I sleep better?", "suggest any medicine or anything that costs money."),
                ("Write a short poem about the sea.", "use the words wave, blue or deep."),
                ("Suggest a name for a bakery.", "contain the word bread or the name of a person."),
                ("Describe a sunset.", "name a single colour."),
                ("Explain how a bill becomes a law.", "take more than five sentences."),
            ),
            free=True,
        ),
    ),
    "deepen": (
        _tail(
            "Each task gets a second question that goes deeper into the same subject.",
            "Second question",
            "Also explain how",
            (
                ("What causes rust?", "salt water speeds it up, and how a coat of paint slows it down."),
                ("Rewrite this sentence in the passive: The cat ate the fish.", "the stress moves to another word."),
                ("Name three famous painters.", "the critics of their time received each of them."),
                ("Which is larger, 3/4 or 2/3?", "the answer can be checked with a drawing."),
                ("How can I sleep better?", "bright light in the evening shifts the hour at which we tire."),
                ("Suggest a name for a bakery.", "each name would look on a small sign."),
            ),
        ),
        _tail(
            "Each task gets a second question about what would change under other conditions.",
            "Second question",
            "Also say what would change if",
            (
                ("What causes rust?", "the iron were kept in a desert instead of at the coast."),
                ("Write a letter to a landlord.", "the landlord were a good friend of the family."),
                ("Plan a picnic for six people.", "it began to rain an hour before the start."),
                ("Explain how a bill becomes a law.", "the two chambers could not agree on the text."),
                ("Suggest a name for a bakery.", "most of its customers were tourists from abroad."),
            ),
        ),
    ),
    "concretise": (
        _tail(
            "Each task gets a particular case to which it is applied.",
            "Case",
            "Take the case of",
            (
                ("How can I sleep better?", "a nurse who works night shifts and shares a room with her sister."),
                ("Write a letter to a landlord.", "a family whose heating has been broken for nine days in January."),
                ("Explain what a budget is.", "a student who earns 600 euros a month and pays 350 in rent."),
                ("What causes rust?", "an iron bridge across a salt marsh that was last painted in 1987."),
                ("Suggest a name for a shop.", "a bakery beside an old harbour that sells only rye bread."),
            ),
        ),
    ),
    "reasoning": (
        _tail(
            "Each task is solved in steps that build on each other.",
            "Steps",
            "First list",
            (
                (
                    "Suggest a name for a bakery.",
                    "what its customers value most, then match a word to each, then choose one.",
                ),
                ("What causes rust?", "the substances that take part, then order the reactions in time, then answer."),
                (
                    "Which phone should I buy?",
                    "three kinds of users, then decide what each of them needs, then recommend one.",
                ),
                (
                    "How can I save water at home?",
                    "the rooms by how much water they use, then begin with the thirstiest.",
                ),
                ("Describe a good leader.", "two leaders from history, then compare their choices, then draw a rule."),
            ),
        ),
        _tail(
            "Each task is turned into three stages that build on each other.",
            "Stages",
            "Begin with",
            (
                (
                    "Suggest a name for a bakery.",
                    "ten words that smell of bread, go on to the three best, and end with one name.",
                ),
                (
                    "What causes rust?",
                    "what iron is made of, go on to what water does to it, and end with a prediction.",
                ),
                (
                    "How can I save water at home?",
                    "a typical day, go on to its largest use of water, and end with two changes.",
                ),
                (
                    "Rewrite this sentence in the passive: The cat ate the fish.",
                    "the object of the sentence, go on to the verb, and end with the whole.",
                ),
                (
                    "Describe a good leader.",
                    "one decision that a leader has to take, go on to its price, and end with a rule.",
                ),
            ),
        ),
    ),
    "complicate-input": (
        Tail(
            "For each task, name four things that belong to it, and a figure that they can be compared by.\n\n"
            "Task: Suggest how to plan meals for a week.\nThings: rice; spinach; eggs; cheese | grams in the pantry\n\n"
            "Task: How can a small shop keep its customers?\n"
            "Things: regular buyers; tourists; students; pensioners | visits a month\n\n"
            "Task: Explain what a purchase order is.\n"
            "Things: steel bolts; torque wrench; safety gloves; paint | price in euros\n\n"
            "Task: Write a short poem about the sea.\nThings: herring gulls; seals; crabs; tourists | number counted\n\n"
            "Task: Name the planets.\nThings: Mars; Venus; Saturn; Neptune | known moons\n\n"
            "Task: {{instruction}}\nThings:",
            "",
        ),
    ),
    "in-breadth": (
        Tail(
            "Pairs of tasks from the same field. The second is new, about something rarer.\n\n"
            "Task: Write a short poem about the sea.\n"
            "Rarer task: Write a short poem about a salt mine that was given up a hundred years ago.\n\n"
            "Task: How can I sleep better?\n"
            "Rarer task: How can a crew that crosses three time zones a week keep its sleep healthy?\n\n"
            "Task: Classify these animals as mammals or birds: cat, eagle.\n"
            "Rarer task: Classify these creatures as sponges or corals: sea fan, glass rope, brain coral.\n\n"
            "Task: Rewrite this sentence in the passive: The cat ate the fish.\n"
            "Rarer task: Rewrite this sentence as a newspaper of 1850 would print it: The tram hit a cart.\n\n"
            "Task: Explain what a budget is.\n"
            "Rarer task: Explain what a sinking fund is and when a village school would need one.\n\n"
            "Task: {{instruction}}\nRarer task:",
            "",
        ),
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
    leaks=("[[BLOCK", "rarer task", "second question:", "harder task:"),
)
