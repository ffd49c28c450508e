"use strict";
(() => {
  // Show all answers of a task, or those that are not right.
  for (const box of document.querySelectorAll(".filter")) {
    box.hidden = false;
    const items = [...document.getElementById(box.dataset.for).children];
    const buttons = [...box.querySelectorAll("button")];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
        for (const item of items) item.hidden = button.dataset.show !== "all" && item.dataset.is !== button.dataset.show;
      });
    }
  }
})();
