"use strict";
const root = document.documentElement;
root.dataset.theme = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.getElementById("theme").onclick = () => { root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"; };
for (const run of document.querySelectorAll(".run")) {
  const stack = run.querySelector(".stack");
  if (!stack) continue;
  const base = stack.querySelector(".base"), cam = stack.querySelector(".cam"), text = run.querySelector(".cam-text");
  const bases = run.querySelectorAll("[data-base]"), classes = run.querySelectorAll(".class");
  for (const button of bases) button.onclick = () => {
    base.src = button.dataset.base;
    stack.classList.toggle("moving", button.dataset.base.endsWith(".webp"));
    stack.classList.toggle("map", button.classList.contains("tile"));
    for (const other of bases) other.setAttribute("aria-pressed", String(other === button));
  };
  for (const box of run.querySelectorAll("[data-layer]")) {
    const layer = stack.querySelector(`[data-name="${box.dataset.layer}"]`);
    const show = () => { layer.hidden = !box.checked; };
    box.onchange = show;
    show();
  }
  for (const button of classes) button.onclick = () => {
    const on = !button.classList.contains("active") && Boolean(button.dataset.cam);
    for (const other of classes) { other.classList.remove("active"); other.setAttribute("aria-pressed", "false"); }
    button.classList.toggle("active", on);
    button.setAttribute("aria-pressed", String(on));
    cam.hidden = text.hidden = !on;
    stack.classList.toggle("evidence", on);
    if (!on) return;
    cam.src = button.dataset.cam;
    cam.alt = text.querySelector(".words").textContent = `Evidence for ${button.dataset.text}; ${button.dataset.scale}`;
    text.querySelector(".high").textContent = `${button.dataset.high} logit units`;
    if (stack.classList.contains("moving") || stack.classList.contains("map")) bases[0].click();
  };
}
