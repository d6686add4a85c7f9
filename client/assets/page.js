// Makes the page live: news from /events, ticking times, forms that do not leave the page. Everything
// here is also possible without it, with a reload.
"use strict";

const PACE_MS = 400;

function words(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

// Times tick from the moment that they arrived, so that the browser's clock may be wrong.
function tick() {
  const now = performance.now();
  for (const span of document.querySelectorAll("[data-ticks]")) {
    span.since ??= now - Number(span.dataset.elapsed) * 1000;
    const seconds = (now - span.since) / 1000;
    span.textContent = words(seconds);
    const bar = span.closest("td")?.querySelector("progress");
    if (bar) bar.value = Math.min(seconds, bar.max);
  }
}

// Keeps every row that did not change, so that focus and selection stay.
function replaceRows(place, fresh) {
  const body = place.querySelector("tbody");
  const freshBody = fresh.querySelector("tbody");
  if (!body || !freshBody) {
    place.replaceChildren(...fresh.childNodes);
    return;
  }
  const kept = new Map([...body.rows].map((row) => [row.id, row]));
  const rows = [...freshBody.rows].map((row) => {
    const old = kept.get(row.id);
    return old && old.dataset.version === row.dataset.version ? old : row;
  });
  if (rows.length !== body.rows.length || rows.some((row, n) => row !== body.rows[n])) {
    body.replaceChildren(...rows);
  }
  for (const part of [".empty", ".pages"]) {
    place.querySelector(part)?.remove();
    const now = fresh.querySelector(part);
    if (now) place.append(now);
  }
}

// Fetches again what changed, one request at a time, never faster than the pace.
function refresher(id, show) {
  let running = false;
  let again = false;
  return async function refresh() {
    const place = document.getElementById(id);
    if (!place) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    try {
      const source = place.dataset.source;
      const answer = await fetch(source, { headers: { Accept: "text/html" } });
      if (answer.ok && place.dataset.source === source) {
        show(place, parse(await answer.text()));
        document.querySelector(".stale")?.remove();
        tick();
      }
    } catch {
      // The feed tells when the page answers again.
    }
    setTimeout(() => {
      running = false;
      if (again) refresh();
    }, PACE_MS);
  };
}

const refreshRows = refresher("rows", (place, fresh) => replaceRows(place, fresh.body));
const refreshLines = refresher("lines", (place, fresh) => {
  const atEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;
  const lines = fresh.getElementById("lines");
  if (lines) place.replaceChildren(...lines.childNodes);
  if (atEnd) window.scrollTo(0, document.body.scrollHeight);
});

function listen() {
  const feed = new EventSource("/events");
  feed.addEventListener("tasks", refreshRows);
  feed.addEventListener("log", refreshLines);
  feed.addEventListener("status", (event) => {
    const status = document.getElementById("status");
    if (status) status.innerHTML = event.data;
    tick();
  });
  feed.addEventListener("error", () => document.body.classList.add("cut-off"));
  feed.addEventListener("open", () => document.body.classList.remove("cut-off"));
  window.addEventListener("pagehide", () => feed.close());
}

// Sends a form and shows the answer's notice, forms and rows without a reload.
async function send(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const page = parse(await answer.text());
    const create = page.getElementById("create");
    if (!create) throw new Error("not the page");
    document.getElementById("create").replaceWith(create);
    const fresh = page.getElementById("rows");
    const rows = document.getElementById("rows");
    if (fresh.querySelector("tbody")) {
      replaceRows(rows, fresh);
      rows.dataset.source = fresh.dataset.source;
      document.querySelector(".heading").replaceWith(page.querySelector(".heading"));
    }
    history.replaceState(null, "", answer.redirected ? answer.url : location.href);
    tick();
    create.querySelector(".primary")?.focus({ preventScroll: true });
  } catch {
    button.disabled = false;
    form.submit();
  }
}

document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.target.matches("form[method=post]")) return;
  event.preventDefault();
  send(event.target);
});

tick();
setInterval(tick, 100);
listen();
if (document.getElementById("lines")) window.scrollTo(0, document.body.scrollHeight);
