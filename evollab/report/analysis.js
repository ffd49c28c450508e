"use strict";
(() => {
  const box = document.getElementById("mapbox");
  if (!box) return;
  const data = JSON.parse(document.getElementById("points").textContent);
  const map = document.getElementById("map");
  const card = document.getElementById("card");
  const controls = document.getElementById("map-controls");
  const items = [...document.querySelectorAll(".clusters > li")];
  const dots = [...map.querySelectorAll(".dots")];
  const labels = [...map.querySelectorAll(".label")];
  const hidden = new Set();
  let alone = -1;
  let held = false;
  let at = -1;
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "0");
  map.append(ring);

  const seen = (i) => !hidden.has(data.g[i]) && (alone < 0 || data.k[i] === alone);

  // The card

  const hide = () => {
    held = false;
    at = -1;
    card.hidden = true;
    ring.setAttribute("r", "0");
  };
  const show = (i) => {
    if (i < 0) return;
    at = i;
    ring.setAttribute("cx", String(data.x[i]));
    ring.setAttribute("cy", String(data.y[i]));
    ring.setAttribute("r", "12");
    document.getElementById("card-key").className = data.names.length ? `key g${data.g[i]}` : "";
    document.getElementById("card-group").textContent = data.names[data.g[i]] || "";
    document.getElementById("card-cluster").textContent = `cluster ${data.k[i] + 1}`;
    document.getElementById("card-text").textContent = data.t[i];
    card.hidden = false;
    const scale = map.clientWidth / 1000;
    const x = data.x[i] * scale;
    const y = data.y[i] * scale;
    const left = x > box.clientWidth / 2 ? x - card.offsetWidth - 16 : x + 16;
    card.style.left = `${Math.max(4, Math.min(left, box.clientWidth - card.offsetWidth - 4))}px`;
    card.style.top = `${Math.max(4, Math.min(y - 24, box.clientHeight - card.offsetHeight - 4))}px`;
  };

  // Finding a dot: the nearest to a place, or the next in a direction

  const nearest = (x, y, reach) => {
    let best = -1;
    let least = reach * reach;
    for (let i = 0; i < data.x.length; i += 1) {
      const far = (data.x[i] - x) ** 2 + (data.y[i] - y) ** 2;
      if (far < least && seen(i)) [best, least] = [i, far];
    }
    return best;
  };
  const next = (dx, dy) => {
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < data.x.length; i += 1) {
      const x = data.x[i] - data.x[at];
      const y = data.y[i] - data.y[at];
      const on = x * dx + y * dy;
      const off = Math.abs(x * dy - y * dx);
      if (on <= 0 || off > on || !seen(i)) continue;
      if (on + 2 * off < least) [best, least] = [i, on + 2 * off];
    }
    return best;
  };
  const under = (event, reach) => {
    const place = map.getBoundingClientRect();
    const scale = 1000 / place.width;
    return nearest((event.clientX - place.left) * scale, (event.clientY - place.top) * scale, reach * scale);
  };

  map.addEventListener("pointermove", (event) => {
    if (held || event.pointerType === "touch") return;
    const i = under(event, 14);
    if (i >= 0) show(i);
    else hide();
  });
  map.addEventListener("pointerleave", () => {
    if (!held && document.activeElement !== box) hide();
  });
  map.addEventListener("click", (event) => {
    const i = under(event, 24);
    if (i < 0) {
      hide();
      return;
    }
    show(i);
    held = true;
  });
  box.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Escape") hide();
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    show(at < 0 || !seen(at) ? nearest(500, map.viewBox.baseVal.height / 2, 1e9) : next(...way));
    held = true;
  });

  // Groups, colours, clusters

  const refresh = (only) => {
    map.classList.toggle("alone", only >= 0);
    for (const dot of dots) {
      dot.classList.toggle("off", hidden.has(Number(dot.dataset.g)));
      dot.classList.toggle("on", Number(dot.dataset.k) === only);
    }
    for (const label of labels) label.classList.toggle("on", Number(label.dataset.k) === only);
    if (at >= 0 && !seen(at)) hide();
  };
  for (const button of controls.querySelectorAll(".group")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      if (on) hidden.delete(Number(button.dataset.g));
      else hidden.add(Number(button.dataset.g));
      refresh(alone);
    });
  }
  const tint = (cluster) => {
    box.classList.toggle("by-cluster", cluster);
    document.querySelector(".clusters").classList.toggle("by-cluster-list", cluster);
  };
  tint(box.classList.contains("by-cluster"));
  for (const button of controls.querySelectorAll("[data-tint]")) {
    button.addEventListener("click", () => {
      for (const other of controls.querySelectorAll("[data-tint]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      tint(button.dataset.tint === "cluster");
    });
  }
  for (const item of items) {
    const own = Number(item.dataset.k);
    const button = item.querySelector(".number");
    button.disabled = false;
    button.addEventListener("click", () => {
      alone = alone === own ? -1 : own;
      for (const other of items) {
        other.querySelector(".number").setAttribute("aria-pressed", String(Number(other.dataset.k) === alone));
      }
      refresh(alone);
    });
    item.addEventListener("pointerenter", (event) => {
      if (alone < 0 && event.pointerType !== "touch") refresh(own);
    });
    item.addEventListener("pointerleave", () => refresh(alone));
  }

  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-label", "Map of the rows");
  box.setAttribute("aria-describedby", "map-hint");
  document.getElementById("map-hint").hidden = false;
  for (const part of controls.querySelectorAll(".tint")) part.hidden = false;
})();
