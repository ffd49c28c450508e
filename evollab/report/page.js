"use strict";
(() => {
  const controls = document.getElementById("thread-controls");
  if (!controls) return;
  controls.hidden = false;
  const threads = [...document.querySelectorAll(".thread")];
  const count = document.getElementById("thread-count");
  for (const button of controls.querySelectorAll("button[data-tag]")) {
    button.addEventListener("click", () => {
      for (const other of controls.querySelectorAll("button[data-tag]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      const tag = button.dataset.tag;
      let shown = 0;
      for (const thread of threads) {
        thread.hidden = tag !== "" && !thread.dataset.tags.split(" ").includes(tag);
        if (!thread.hidden) shown += 1;
      }
      count.textContent = `${shown} shown`;
    });
  }
  const all = document.getElementById("open-all");
  all.addEventListener("click", () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", String(open));
    for (const part of document.querySelectorAll(".thread details")) part.open = open;
  });
})();
