// Keeps the page as the agent is, without reloading it. Without this file the
// page reads the same, as it was when it was asked for.
"use strict";

const every = 2000; // ms from one answer to the next question
const patience = 10000; // ms until an agent that says nothing counts as away

const main = document.getElementById("main");
const live = document.getElementById("live");
let heard = new Date(); // when the agent last answered
let timer = 0;

function tell(kind, text) {
  if (live.textContent !== text) {
    live.textContent = text; // only then: screen readers say it each time
  }
  live.dataset.kind = kind;
  document.documentElement.dataset.live = kind;
}

// become makes an element what another one is, and touches only what differs:
// what is selected, focused, scrolled or unfolded stays so.
function become(old, fresh) {
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
  const stay = new Set([...fresh.children].map((e) => e.id));
  const known = new Map();
  for (const e of [...old.children].filter((e) => e.id)) {
    if (stay.has(e.id)) {
      known.set(e.id, e);
    } else {
      e.remove();
    }
  }
  let at = old.firstChild; // what was before it is as it should be
  for (const node of [...fresh.childNodes]) {
    const was = node.id ? known.get(node.id) : at;
    if (!was || was.nodeName !== node.nodeName || (was.id ?? "") !== (node.id ?? "")) {
      old.insertBefore(node, at);
      continue;
    }
    if (was === at) {
      at = at.nextSibling;
    } else {
      old.insertBefore(was, at);
    }
    if (node.nodeType === Node.ELEMENT_NODE) {
      become(was, node);
    } else if (was.data !== node.data) {
      was.data = node.data;
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

async function ask() {
  const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(patience) });
  if (!answer.ok) {
    throw new Error(`the agent answered ${answer.status}`);
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const content = fresh.getElementById("main");
  if (content === null) {
    throw new Error("this is not the page of an agent");
  }
  if (fresh.documentElement.dataset.version !== document.documentElement.dataset.version) {
    location.reload(); // another carrel has another page
    return;
  }
  document.title = fresh.title;
  become(main, content);
}

async function turn() {
  clearTimeout(timer);
  if (document.hidden) {
    return; // visibilitychange goes on
  }
  try {
    await ask();
    heard = new Date();
    tell("live", "Live");
  } catch {
    document.title = document.title.replace(/^./u, "?");
    tell("away", `Not connected since ${heard.toLocaleTimeString()}. What is below is what the agent said then.`);
  }
  clearTimeout(timer); // another turn may have begun meanwhile
  timer = setTimeout(turn, every);
}

document.addEventListener("visibilitychange", turn);
turn();
