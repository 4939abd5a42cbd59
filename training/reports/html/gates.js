"use strict";
// Draws the gate paths of every run on the page, and names the one that is pointed at, touched or chosen.

const MARGIN = { left: 40, right: 10, top: 8, bottom: 24 };
const NEAR = 24; // pixels within which a path counts as pointed at

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function kindOf(paths, gate) {
  const dead = paths.died[gate] >= 0 || paths.removed[gate] >= 0;
  if (paths.certified[gate] >= 0) return dead ? "held" : "back";
  return dead ? "dead" : "alive";
}

function told(paths, gate) {
  const at = (step, word, never) => (step >= 0 ? `${word} at step ${step}` : never);
  const parts = [
    `${paths.gates[gate]} (${paths.isLayer[gate] ? "branch" : "unit of " + paths.groups[gate]})`,
    at(paths.certified[gate], "certified", "never certified"),
    at(paths.died[gate], "dead", "not dead at the end"),
  ];
  if (paths.removed[gate] >= 0) parts.push(`removed at step ${paths.removed[gate]}`);
  return parts.join(", ");
}

// One view of the paths: which numbers lie on which axis.
function axes(view, paths) {
  const largest = (columns) => columns.reduce((most, c) => c.reduce((m, v) => (v === null ? m : Math.max(m, v)), most), 0) || 1;
  const steps = { of: () => paths.steps, most: paths.steps[paths.steps.length - 1] || 1, name: "step" };
  const theta = { of: (gate) => paths.theta[gate], most: 1, name: "θ" };
  const rho = { of: (gate) => paths.rho[gate], most: largest(paths.rho), name: "ρ" };
  return { theta: [steps, theta], rho: [steps, rho], plane: [rho, theta] }[view];
}

class View {
  constructor(canvas, paths) {
    this.canvas = canvas;
    this.paths = paths;
    [this.x, this.y] = axes(canvas.dataset.view, paths);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context = this.canvas.getContext("2d");
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  // Pixels of a gate's path; null where it has no weights left.
  points(gate) {
    const across = this.width - MARGIN.left - MARGIN.right, up = this.height - MARGIN.top - MARGIN.bottom;
    const xs = this.x.of(gate), ys = this.y.of(gate);
    return xs.map((x, i) =>
      x === null || ys[i] === null ? null
        : [MARGIN.left + (across * x) / this.x.most, this.height - MARGIN.bottom - (up * ys[i]) / this.y.most]);
  }

  line(gate, style, width) {
    const c = this.context;
    c.beginPath();
    let on = false;
    for (const point of this.points(gate)) {
      if (point === null) { on = false; continue; }
      if (on) c.lineTo(point[0], point[1]); else c.moveTo(point[0], point[1]);
      on = true;
    }
    c.strokeStyle = style;
    c.lineWidth = width;
    c.stroke();
  }

  frame() {
    const c = this.context, left = MARGIN.left, bottom = this.height - MARGIN.bottom, right = this.width - MARGIN.right;
    c.clearRect(0, 0, this.width, this.height);
    c.strokeStyle = colour("line");
    c.lineWidth = 1;
    c.strokeRect(left, MARGIN.top, right - left, bottom - MARGIN.top);
    c.fillStyle = colour("faint");
    c.font = "12px system-ui, sans-serif";
    const number = (v) => String(Number(v.toPrecision(3)));
    c.textAlign = "right";
    c.fillText(number(this.y.most), left - 4, MARGIN.top + 10);
    c.fillText(this.y.name, left - 4, (MARGIN.top + bottom) / 2);
    c.fillText("0", left - 4, bottom);
    c.fillText(String(this.x.name === "step" ? this.x.most : number(this.x.most)), right, bottom + 15);
    c.textAlign = "center";
    c.fillText(this.x.name, (left + right) / 2, bottom + 15);
    c.textAlign = "left";
    c.fillText("0", left, bottom + 15);
  }

  draw(shown, chosen) {
    this.resize();
    this.frame();
    const c = this.context;
    c.globalAlpha = chosen === null ? 0.55 : 0.18;
    for (const gate of shown) {
      this.line(gate, colour(kindOf(this.paths, gate)), this.paths.isLayer[gate] ? 2.2 : 1);
    }
    c.globalAlpha = 1;
    if (chosen !== null) this.highlight(chosen);
  }

  // The chosen path, with a ring where it was certified and a cross where it died.
  highlight(gate) {
    const c = this.context, steps = this.paths.steps, points = this.points(gate);
    this.line(gate, colour("ink"), 2.5);
    const at = (step) => (step < 0 ? null : points[Math.max(0, steps.findIndex((s) => s >= step))]);
    const ring = at(this.paths.certified[gate]), cross = at(this.paths.died[gate]);
    c.strokeStyle = colour("back");
    if (ring) { c.beginPath(); c.arc(ring[0], ring[1], 5, 0, 2 * Math.PI); c.stroke(); }
    if (cross) {
      c.beginPath();
      for (const sign of [-1, 1]) { c.moveTo(cross[0] - 5, cross[1] - 5 * sign); c.lineTo(cross[0] + 5, cross[1] + 5 * sign); }
      c.stroke();
    }
  }

  // The gate whose path comes nearest to a place, or null.
  nearest(shown, place) {
    let best = null, least = NEAR * NEAR;
    for (const gate of shown) {
      let last = null;
      for (const point of this.points(gate)) {
        if (point !== null) {
          const distance = toSegment(place, last || point, point);
          if (distance < least) { least = distance; best = gate; }
        }
        last = point;
      }
    }
    return best;
  }
}

// Squared distance of a place from the segment between two points.
function toSegment([x, y], [ax, ay], [bx, by]) {
  const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length)) : 0;
  return (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2;
}

function show(box) {
  const paths = JSON.parse(box.querySelector(".paths").textContent);
  const [groups, gates] = [box.querySelector("select.group"), box.querySelector("select.gate")];
  const line = box.querySelector(".told");
  const views = [...box.querySelectorAll("canvas")].map((canvas) => new View(canvas, paths));
  let shown = [], chosen = null;

  function redraw() {
    views.forEach((view) => view.draw(shown, chosen));
    line.textContent = chosen === null ? "Point at a path, or choose a gate." : told(paths, chosen);
    gates.value = chosen === null ? "" : String(chosen);
  }
  function choose(gate) {
    if (gate !== chosen) { chosen = gate; redraw(); }
  }
  function fill() {
    shown = paths.gates.map((_, gate) => gate).filter((gate) => !groups.value || paths.groups[gate] === groups.value);
    gates.replaceChildren(new Option("none chosen", ""), ...shown.map((gate) => new Option(paths.gates[gate], gate)));
    if (!shown.includes(chosen)) chosen = null;
    redraw();
  }
  for (const view of views) {
    const point = (event) => {
      const gate = view.nearest(shown, [event.offsetX, event.offsetY]);
      if (gate !== null || event.type === "pointerdown") choose(gate);
    };
    view.canvas.addEventListener("pointermove", point);
    view.canvas.addEventListener("pointerdown", point);
  }
  groups.addEventListener("change", fill);
  gates.addEventListener("change", () => choose(gates.value === "" ? null : Number(gates.value)));
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  fill();
}

document.querySelectorAll(".gates").forEach(show);
