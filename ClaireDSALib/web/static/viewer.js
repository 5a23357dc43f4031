// Sends keys that no field took to the viewer, and comes back after a lost connection.
(function () {
  const FIELDS = new Set(["INPUT", "TEXTAREA", "SELECT"]);
  const OURS = /^(Arrow(Left|Right|Up|Down)|Page(Up|Down)|Home|End|Backspace|Escape| )$/;
  let lastSent = 0;

  function keyName(event) {
    let name = event.key;
    if (event.shiftKey && name.length > 1) name = "Shift+" + name;
    if (event.ctrlKey || event.metaKey) name = "Ctrl+" + (event.shiftKey && event.key.length === 1 ? "Shift+" : "") + name.toLowerCase();
    return name;
  }

  function takenByField(event) {
    const target = event.target;
    if (!FIELDS.has(target.tagName)) return target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter");
    if (event.key === "Escape") { target.blur(); return true; }
    if (target.type === "range") return target.id !== "seek" && /^(Arrow|Home|End|Page)/.test(event.key);
    if (target.type === "checkbox") return event.key === " ";
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || takenByField(event) || !window.trame) return;
    const name = keyName(event);
    if (name.startsWith("Ctrl+") && !/^Ctrl\+(Shift\+)?[zy]$/i.test(name)) return;
    if (name === "f") { toggleFullScreen(); return; }
    if (OURS.test(event.key) || name.startsWith("Ctrl+")) event.preventDefault();
    if (event.repeat && performance.now() - lastSent < 40) return;
    lastSent = performance.now();
    window.trame.trigger("key", [name]);
  }, true);

  // The pictures are replaced all the time; each needs its words.
  new MutationObserver(() => {
    for (const image of document.querySelectorAll(".canvas img:not([alt])")) {
      const view = image.closest("[data-view]");
      const title = view && view.querySelector(".view-title b");
      image.alt = title ? title.textContent : "Angiogram";
    }
  }).observe(document.documentElement, { childList: true, subtree: true });

  document.addEventListener("contextmenu", (event) => {
    if (event.target.closest && event.target.closest(".canvas")) event.preventDefault();
  });

  function toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {});
  }

  // The server answers while it lives; when it comes back after a pause, the page starts anew with its state.
  // A server that is ending still answers for a moment, hence several rounds without a socket before a reload.
  let lost = false;
  let roundsWithoutSocket = 0;
  async function watch() {
    let alive = false;
    try {
      const answer = await fetch("alive", { cache: "no-store" });
      alive = answer.ok && (await answer.text()) === "alive";
    } catch (_) { alive = false; }
    const connected = window.trame && window.trame.client && window.trame.client.isConnected();
    roundsWithoutSocket = alive && !connected ? roundsWithoutSocket + 1 : 0;
    if (alive && (lost || roundsWithoutSocket > 3)) { location.reload(); return; }
    lost = lost || !alive;
    banner(lost || roundsWithoutSocket > 1);
    setTimeout(watch, 1000);
  }
  function banner(show) {
    let element = document.getElementById("claire-lost");
    if (!show) { if (element) element.remove(); return; }
    if (element) return;
    element = document.createElement("div");
    element.id = "claire-lost";
    element.setAttribute("role", "alert");
    element.textContent = "Connection lost. Trying again …";
    document.body.appendChild(element);
  }
  setTimeout(watch, 2000);
})();
