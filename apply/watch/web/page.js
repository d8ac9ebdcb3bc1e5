// The page as it is now, every two seconds, without loading it anew. Without
// this script it is read as it was when it was loaded.
"use strict";

const every = 2000;
const away = document.getElementById("away");
let since = null;

async function refresh() {
	const answer = await fetch("/", { cache: "no-store" });
	if (!answer.ok) throw new Error("status " + answer.status);
	const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
	const open = [...document.querySelectorAll("details")].map(d => d.open);
	fresh.querySelectorAll("details").forEach((d, i) => { d.open = open[i] || false; });
	const now = document.querySelector("main"), next = fresh.querySelector("main");
	if (now.innerHTML !== next.innerHTML) now.replaceWith(document.adoptNode(next));
	document.title = fresh.title;
}

async function turn() {
	if (!document.hidden) {
		try {
			await refresh();
			since = null;
		} catch {
			since ??= new Date();
		}
		away.hidden = since === null;
		if (since !== null) away.textContent = "The agent does not answer since " + since.toLocaleTimeString() + ": what is below is as it was then.";
	}
	setTimeout(turn, every);
}

setTimeout(turn, every);
