"use strict";
(() => {
  // One step, the same in all pictures: chosen by the pointer over any of them, or by the slider.
  const data = JSON.parse(document.getElementById("points").textContent);
  const plots = [...document.querySelectorAll(".plot")].filter((plot) => Object.hasOwn(data, plot.dataset.for));
  const slider = document.getElementById("step");
  if (!plots.length || !slider) return;
  const all = Object.values(data);
  const first = Math.min(...all.map((one) => one.from));
  const last = Math.max(...all.map((one) => one.to));
  if (first === last) return;

  const reads = new Map();
  for (const read of document.querySelectorAll(".read")) {
    const values = [...read.querySelectorAll("b")];
    reads.set(read.dataset.for, { values, ends: values.map((value) => value.textContent) });
  }
  const cursors = plots.map((plot) => {
    const line = document.createElement("div");
    line.className = "cursor";
    line.hidden = true;
    plot.append(line);
    return line;
  });

  // The last measurement at a step or before it.
  const before = (steps, step) => {
    let low = 0;
    let high = steps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= step) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };

  const show = (step) => {
    slider.value = String(step);
    slider.setAttribute("aria-valuetext", `step ${step}`);
    document.getElementById("at-step").textContent = step.toLocaleString("en");
    plots.forEach((plot, i) => {
      const one = data[plot.dataset.for];
      const inside = step >= one.from && step <= one.to && step !== last;
      cursors[i].hidden = !inside;
      if (inside) cursors[i].style.left = `${((step - one.from) / (one.to - one.from || 1)) * 100}%`;
      const read = reads.get(plot.dataset.for);
      one.curves.forEach(([steps, values], at) => {
        const index = before(steps, step);
        read.values[at].textContent = step === last ? read.ends[at] : index < 0 ? "–" : values[index];
      });
    });
  };

  plots.forEach((plot) => {
    const one = data[plot.dataset.for];
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      show(Math.round(one.from + share * (one.to - one.from)));
    });
    plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") show(last);
    });
  });
  slider.min = String(first);
  slider.max = String(last);
  slider.addEventListener("input", () => show(Number(slider.value)));
  document.getElementById("at").hidden = false;
  show(last);
})();
