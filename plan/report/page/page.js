// Updates the page without reloading it. Without this file the page shows the
// same information, as of the time when it was loaded.
"use strict";

const pollInterval = 2000; // ms from one response to the next request
const requestTimeout = 10000; // ms until an agent that does not respond counts as disconnected

const main = document.getElementById("main");
const live = document.getElementById("live");
let lastResponse = new Date(); // when the agent last responded
let timer = 0;

// showConnection shows whether the page is connected to the agent.
function showConnection(kind, text) {
  if (live.textContent !== text) {
    live.textContent = text; // only when it differs: a screen reader reads each assignment
  }
  live.dataset.kind = kind;
  document.documentElement.dataset.live = kind;
}

// morph changes an element into another one. It touches only what differs, so
// that selections, focus, scroll positions and open details stay as they are.
function morph(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) {
      old.setAttribute(name, value);
    }
  }
  const kept = new Set([...fresh.children].map((e) => e.id));
  const known = new Map();
  for (const e of [...old.children].filter((e) => e.id)) {
    if (kept.has(e.id)) {
      known.set(e.id, e);
    } else {
      e.remove();
    }
  }
  let at = old.firstChild; // the nodes before it are up to date
  for (const node of [...fresh.childNodes]) {
    const current = node.id ? known.get(node.id) : at;
    if (!current || current.nodeName !== node.nodeName || (current.id ?? "") !== (node.id ?? "")) {
      old.insertBefore(node, at);
      continue;
    }
    if (current === at) {
      at = at.nextSibling;
    } else {
      old.insertBefore(current, at);
    }
    if (node.nodeType === Node.ELEMENT_NODE) {
      morph(current, node);
    } else if (current.data !== node.data) {
      current.data = node.data;
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// update loads the page again and shows what changed.
async function update() {
  const response = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(requestTimeout) });
  if (!response.ok) {
    throw new Error(`the agent responded with status ${response.status}`);
  }
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const content = fresh.getElementById("main");
  if (content === null) {
    throw new Error("the response is not the page of an agent");
  }
  if (fresh.documentElement.dataset.version !== document.documentElement.dataset.version) {
    location.reload(); // another version of carrel has other scripts and styles
    return;
  }
  document.title = fresh.title;
  morph(main, content);
}

// poll updates the page, and again after pollInterval.
async function poll() {
  clearTimeout(timer);
  if (document.hidden) {
    return; // the visibilitychange event continues
  }
  try {
    await update();
    lastResponse = new Date();
    showConnection("live", "Live");
  } catch {
    document.title = document.title.replace(/^./u, "?");
    showConnection("disconnected", `Disconnected since ${lastResponse.toLocaleTimeString()}. The page shows the last report.`);
  }
  clearTimeout(timer); // another poll may have started in the meantime
  timer = setTimeout(poll, pollInterval);
}

document.addEventListener("visibilitychange", poll);
poll();
