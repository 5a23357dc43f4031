"use strict";
const root = document.documentElement;
root.dataset.theme = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.getElementById("theme").onclick = () => { root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"; };
for (const run of document.querySelectorAll(".run")) {
  const stack = run.querySelector(".stack");
  if (!stack) continue;
  const base = stack.querySelector(".base"), cam = stack.querySelector(".cam"), text = run.querySelector(".cam-text");
  for (const button of run.querySelectorAll("[data-base]")) button.onclick = () => {
    base.src = button.dataset.base;
    stack.classList.toggle("moving", button.dataset.base.endsWith(".webp"));
    for (const other of run.querySelectorAll("[data-base]")) other.setAttribute("aria-pressed", String(other === button));
  };
  for (const box of run.querySelectorAll("[data-layer]")) {
    const layer = stack.querySelector(`[data-name="${box.dataset.layer}"]`);
    const show = () => { layer.hidden = !box.checked; };
    box.onchange = show;
    show();
  }
  for (const button of run.querySelectorAll(".class")) button.onclick = () => {
    const on = !button.classList.contains("active") && button.dataset.cam;
    for (const other of run.querySelectorAll(".class")) other.classList.remove("active");
    button.classList.toggle("active", Boolean(on));
    cam.hidden = text.hidden = !on;
    if (on) { cam.src = button.dataset.cam; cam.alt = text.textContent = `Evidence for ${button.dataset.text}; the scale is shared by all labels of this run`; }
  };
}
