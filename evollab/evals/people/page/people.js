"use strict";
(() => {
  const by = id => document.getElementById(id);
  const choices = [...document.querySelectorAll("[data-verdict]")];
  const KEYS = {"1": "a", "ArrowLeft": "a", "2": "b", "ArrowRight": "b", "0": "tie", " ": "tie", "x": "bad"};
  const TOO_SOON = 250;   // milliseconds: the second tap of a double tap is not a verdict on what came up under it
  const seen = [];        // places in the order they were judged or skipped, for going back
  let current = null;     // what the server last sent
  let shownAt = 0;
  let busy = false;

  // The token is in a cookie by now; out of the address, so that nobody reads it over a shoulder.
  if (location.pathname !== "/") history.replaceState(null, "", "/");

  const show = name => {
    for (const one of ["welcome", "task", "finished"]) by(one).hidden = one !== name;
  };

  const problem = words => {
    by("problem").textContent = words;
    by("problem").hidden = !words;
  };

  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };

  // A text as it is: paragraphs keep their line ends, what stands between code fences goes into a box.
  const write = (into, text) => {
    if (!text.trim()) {
      into.append(make("p", "(no text)", "none"));
      return;
    }
    let lines = [];
    let fence = "";
    const flush = () => {
      const held = lines.join("\n").replace(/^\n+/, "").trimEnd();
      lines = [];
      if (!held) return;
      const block = make(fence ? "pre" : "p", held);
      if (fence) block.tabIndex = 0;
      into.append(block);
    };
    for (const line of text.split("\n")) {
      const mark = line.trimStart().slice(0, 3);
      if (fence ? mark === fence && !line.trim().slice(3).trim() : mark === "```" || mark === "~~~") {
        flush();
        fence = fence ? "" : mark;
      } else {
        lines.push(line);
      }
    }
    flush();
  };

  const conversation = (into, texts, turns) => {
    into.replaceChildren();
    texts.forEach((text, at) => {
      if (at && turns[at] !== undefined) {
        const turn = make("div", undefined, "turn");
        turn.append(make("h3", "The next request"));
        write(turn, turns[at]);
        into.append(turn);
      }
      write(into, text);
    });
  };

  const press = verdict => {
    for (const button of choices) button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    by("side-a").classList.toggle("chosen", verdict === "a");
    by("side-b").classList.toggle("chosen", verdict === "b");
  };

  const openComment = open => {
    by("comment-box").hidden = !open;
    by("say").setAttribute("aria-expanded", String(open));
    if (open) by("comment").focus();
  };

  const render = told => {
    current = told;
    problem("");
    by("progress").max = Math.max(told.total, 1);
    by("progress").value = told.done;
    by("where").textContent = `${told.done} of ${told.total} judged`;
    by("count").textContent = told.done ? `${told.done} of ${told.total} are judged already.` : `Comparisons: ${told.total}`;
    by("begin").textContent = told.done ? "Go on" : "Begin";
    if (told.place === null) {
      const all = told.total === 1 ? "the comparison" : `all ${told.total} comparisons`;
      by("finished-count").textContent = told.total ? `You have judged ${all}.` : "There is nothing for you to judge.";
      by("back-again").hidden = told.total === 0;
      return;
    }
    by("request").replaceChildren();
    write(by("request"), told.turns[0]);
    by("request").scrollTop = 0;
    conversation(by("answer-a"), told.a, told.turns);
    conversation(by("answer-b"), told.b, told.turns);
    by("comment").value = told.comment;
    by("comment-box").hidden = !told.comment;
    by("say").setAttribute("aria-expanded", String(Boolean(told.comment)));
    by("back").disabled = told.place === 0 && !seen.length;
    press(told.verdict);
  };

  const enter = () => {
    if (current.place === null) {
      show("finished");
      by("finished").querySelector("h1").focus();
      return;
    }
    show("task");
    window.scrollTo(0, 0);
    by("request-head").focus({preventScroll: true});
    shownAt = performance.now();
  };

  // One request at a time; what fails is said, and can be tried again.
  const ask = async (path, body) => {
    if (busy) return false;
    busy = true;
    try {
      const settings = body === undefined ? {} : {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
      };
      const response = await fetch(path, {cache: "no-store", ...settings});
      const told = await response.json();
      if (!response.ok) throw new Error(told.error || `The server says ${response.status}.`);
      render(told);
      return true;
    } catch (error) {
      const lost = error instanceof TypeError || error instanceof SyntaxError;
      const words = lost ? "The server can't be reached." : error.message;
      problem(body === undefined ? words : `Not kept: ${words} Choose again to try again.`);
      if (current && current.place !== null) press(current.verdict);
      return false;
    } finally {
      busy = false;
    }
  };

  const judge = async verdict => {
    if (busy || !current || current.place === null || by("task").hidden) return;
    if (performance.now() - shownAt < TOO_SOON) return;
    const place = current.place;
    press(verdict);
    const said = {
      form: current.form, verdict, comment: by("comment").value, seconds: (performance.now() - shownAt) / 1000,
    };
    if (await ask(`/api/at/${place}`, said)) {
      seen.push(place);
      by("back").disabled = false;
      enter();
    }
  };

  const skip = async () => {
    if (busy || !current || current.place === null || by("task").hidden) return;
    const place = current.place;
    if (await ask(`/api/next?after=${place}`)) {
      seen.push(place);
      by("back").disabled = false;
      enter();
    }
  };

  const back = async () => {
    if (busy || !current || !by("welcome").hidden) return;
    const place = current.place === null ? current.total : current.place;
    const to = seen.length ? seen[seen.length - 1] : place - 1;
    if (to >= 0 && await ask(`/api/at/${to}`)) {
      seen.pop();
      by("back").disabled = to === 0 && !seen.length;
      enter();
    }
  };

  const help = () => {
    by("count").textContent = `${current.done} of ${current.total} are judged already.`;
    by("begin").textContent = "Go on";
    show("welcome");
    by("begin").focus();
  };

  for (const button of choices) {
    button.addEventListener("click", () => {
      button.blur();
      judge(button.dataset.verdict);
    });
  }
  by("begin").addEventListener("click", enter);
  by("back").addEventListener("click", back);
  by("back-again").addEventListener("click", back);
  by("skip").addEventListener("click", skip);
  by("help").addEventListener("click", help);
  by("say").addEventListener("click", () => openComment(by("comment-box").hidden));

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const at = event.target;
    if (at.id === "comment") {
      if (event.key === "Escape") at.blur();
      return;
    }
    if (event.repeat) return;
    if (at.closest("button") && (event.key === " " || event.key === "Enter")) return;
    if (at.closest("pre") && event.key.startsWith("Arrow")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onTask = !by("task").hidden;
    if (onTask && KEYS[key]) judge(KEYS[key]);
    else if (onTask && key === "c") openComment(true);
    else if (onTask && key === "s") skip();
    else if (onTask && key === "?") help();
    else if (key === "u") back();
    else return;
    event.preventDefault();
  });

  ask("/api/next").then(ok => {
    if (!ok) return;
    if (current.place === null) enter();
    else if (current.done) enter();
    else show("welcome");
  });
})();
