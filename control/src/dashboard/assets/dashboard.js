// Shows what the daemon tells. Names of calls and tags are others' words: they are only ever set as text.
"use strict";

const at = id => document.getElementById(id);
const LONGEST = 600; // points of a chart, one for each second

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 120) return Math.floor(seconds) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  return Math.floor(seconds / 3600) + " h " + String(Math.floor(seconds / 60) % 60).padStart(2, "0");
}

const count = number => Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
const score = mos => mos === null || mos === undefined ? "–" : mos.toFixed(1);

function troubles(call) {
  return call.troubles.map(one => one.trouble === "silent" ? "nobody is heard" : `one way: ${one.unheard} is not heard ${one.was_heard ? "any more" : "at all"}`);
}

function put(tag, text, style) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (style) element.className = style;
  return element;
}

// --- charts -------------------------------------------------------------------

class Chart {
  constructor(id, series) {
    this.box = at(id);
    this.data = [[], ...series.map(() => [])];
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    this.plot = new uPlot({
      width: Math.max(this.box.clientWidth, 200), height: 190, cursor: { y: false },
      // A minute at least: one point alone would be the middle of years.
      scales: { x: { range: (_, low, high) => [Math.min(low ?? 0, (high ?? 0) - 60), high ?? 0] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1) * 1.05] } },
      axes: [{ ...axis, values: (_, times) => times.map(time => new Date(1000 * time).toLocaleTimeString("en-GB")) , space: 80 }, { ...axis, size: 60 }],
      series: [
        { value: (_, time) => time === null ? "now" : new Date(1000 * time).toLocaleTimeString("en-GB") },
        ...series.map(([label, name]) => ({ label, stroke: colour(name), width: 2, spanGaps: false, points: { show: false }, value: (_, value) => this.told(label, value) })),
      ],
    }, this.data, this.box);
    new ResizeObserver(() => this.plot.setSize({ width: Math.max(this.box.clientWidth, 200), height: 190 })).observe(this.box);
  }

  // Without a cursor, the last value.
  told(label, value) {
    if (value === null || value === undefined) {
      const place = this.plot?.series.findIndex(one => one.label === label) ?? -1;
      value = place > 0 ? this.data[place].at(-1) : null;
    }
    return value === null || value === undefined ? "–" : Number.isInteger(value) ? count(value) : value.toFixed(1);
  }

  add(time, ...values) {
    [time, ...values].forEach((value, place) => {
      this.data[place].push(value);
      if (this.data[place].length > LONGEST) this.data[place].shift();
    });
    this.plot.setData(this.data);
  }

  clear() {
    this.data.forEach(values => values.length = 0);
    this.plot.setData(this.data);
  }
}

const charts = {
  packets: new Chart("packets", [["fast", "--good"], ["slow", "--doubt"], ["not sent", "--bad"]]),
  calls: new Chart("callchart", [["calls", "--mark"], ["set up / s", "--good"]]),
};
let callCharts = null;

function bars(id, rows) {
  const most = Math.max(1, ...rows.map(([, value]) => value));
  at(id).replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("div"), bar = document.createElement("i");
    bar.style.width = 100 * value / most + "%";
    row.append(put("span", name), bar, put("span", count(value)));
    return row;
  }));
}

// What has not changed stays the element that it was: whoever is about to click on a link still has it after the next second.
function rows(id, entries) {
  const body = at(id).tBodies[0];
  entries.forEach((cells, number) => {
    const row = body.rows[number] ?? body.insertRow();
    cells.forEach((cell, place) => {
      const next = cell instanceof Node ? cell : put("td", cell, place ? "number" : "");
      const shown = row.cells[place];
      if (!shown) row.append(next);
      else if (!shown.isEqualNode(next)) shown.replaceWith(next);
    });
  });
  while (body.rows.length > entries.length) body.deleteRow(-1);
}

// --- all calls ------------------------------------------------------------------

let before = null;

function show({ relay, worst, troubled, paths, scores }) {
  const now = Date.now() / 1000;
  // A daemon that was started anew has other counts.
  const isSame = before && before.relay.uptime <= relay.uptime;
  const setups = isSame ? (relay.created - before.relay.created) / Math.max(now - before.now, 0.5) : null;
  if (!isSame && before) Object.values(charts).forEach(chart => chart.add(now - 0.5, ...chart.data.slice(1).map(() => null)));
  before = { relay, now };
  at("instance").textContent = relay.instance === "default" ? "" : relay.instance;
  const state = at("state");
  const missing = relay.fast_path_missing > 0, unwritten = relay.journal === false;
  state.className = missing || unwritten ? "bad" : relay.is_draining ? "doubt" : "";
  const told = [];
  if (missing) told.push(`${relay.fast_path_missing} devices have no fast path`);
  if (unwritten) told.push("calls are not put on record: see the log");
  if (relay.is_draining) told.push(`draining: no new calls are taken, ${count(relay.calls)} are left`);
  state.textContent = told.join("; ") || `${relay.engine}, version ${relay.version}, up ${span(relay.uptime)}`;
  at("calls").textContent = count(relay.calls);
  at("setups").textContent = setups === null ? "–" : setups.toFixed(setups < 10 ? 1 : 0);
  at("fast").textContent = count(relay.fast_rate.packets);
  at("slow").textContent = count(relay.slow_rate.packets);
  at("notsent").textContent = count(relay.error_rate);
  at("troubled").textContent = count(Math.max(troubled, worst.filter(call => call.troubles.length).length));
  at("troublebox").className = at("troubled").textContent === "0" ? "" : "bad";
  charts.packets.add(now, relay.fast_rate.packets, relay.slow_rate.packets, relay.error_rate);
  charts.calls.add(now, relay.calls, setups);
  bars("scores", ["≤ 2.0", "≤ 2.5", "≤ 3.0", "≤ 3.5", "≤ 4.0", "≤ 4.5"].map((name, place) => [name, scores[place]]));
  bars("paths", ["fast", "slow", "mixed", "none"].map(name => [name, paths[name] ?? 0]));
  rows("worst", worst.map(call => {
    const name = put("td", ""), link = put("a", call.call_id);
    link.href = "#call=" + encodeURIComponent(call.call_id);
    name.append(link);
    const why = put("td", "", "wide");
    troubles(call).forEach(text => why.append(put("span", text + " ", "bad")));
    why.append(put("span", call.reasons.join(", ")));
    const path = put("td", call.path, call.path === "fast" ? "good" : "doubt");
    return [name, span(call.age), path, count(call.packets), count(call.lost), score(call.mos), span(call.idle), why];
  }));
  const counted = counts => Object.entries(counts).sort((one, other) => other[1] - one[1]).map(([name, value]) => [name, count(value)]);
  rows("program", counted(relay.program));
  rows("workers", counted(relay.workers));
  rows("ports", relay.interfaces.map(one => [`${one.name} ${one.addr}`, `${count(one.used)} of ${count(one.all)}`]));
  rows("engine", [
    [relay.engine, put("td", relay.why, "wide number")],
    ["past the stack", `${count(relay.xsk_packets)} packets by ${relay.xsk_queues} queues`],
    ["fast path lost, regained", `${relay.fast_path.lost}, ${relay.fast_path.regained}`],
    ["host", `load ${relay.load.toFixed(2)}, ${relay.cpu.toFixed(0)} % busy`],
    ["calls refused", count(relay.rejected)],
    ["next hops", put("td", relay.next_hops.unresolved ? `${count(relay.next_hops.unresolved)} of ${count(relay.next_hops.used)} have no neighbour`
      : `${count(relay.next_hops.used)} of ${count(relay.next_hops.all)}`, "number" + (relay.next_hops.unresolved ? " doubt" : ""))],
    ["for the next daemon", [relay.journal === null ? "nothing" : relay.journal ? "calls on record" : "calls NOT on record", relay.is_pinned ? "kernel kept" : "kernel not kept"].join(", ")],
    ...(relay.homer ? [["Homer", `${count(relay.homer.sent)} packets, ${count(relay.homer.lost)} lost`]] : []),
  ]);
}

// --- one call -------------------------------------------------------------------

let shown = null, last = null;

async function showCall() {
  const id = shown;
  let call;
  try {
    const answer = await fetch("/call?id=" + encodeURIComponent(id));
    if (shown !== id) return;
    if (!answer.ok) {
      at("callstate").textContent = "The call has ended.";
      return;
    }
    call = await answer.json();
  } catch {
    return; // the daemon is away; the state line says so
  }
  if (shown !== id) return;
  const now = Date.now() / 1000;
  at("callid").textContent = call.call_id;
  const wrong = troubles(call);
  at("callstate").textContent = `for ${span(call.age)}, path ${call.path}${wrong.length ? ", " + wrong.join(", ") : ""}`;
  at("callstate").className = wrong.length ? "bad" : "";
  const sources = call.parties.flatMap(party => party.medias.flatMap(media => media.sources));
  const jitter = Math.max(...sources.map(source => source.jitter_ms ?? 0), 0);
  if (last) {
    const since = Math.max(now - last.now, 0.5);
    callCharts.packets.add(now, (call.packets - last.call.packets) / since);
    callCharts.loss.add(now, call.lost);
    callCharts.jitter.add(now, jitter);
    callCharts.mos.add(now, call.mos);
  }
  last = { call, now };
  at("legs").replaceChildren(...call.parties.map(party => {
    const section = document.createElement("section");
    section.append(put("h2", `${party.tag ?? "no tag yet"}${party.partner ? " with " + party.partner : ""}`));
    const scroll = put("div", "", "scroll"), table = document.createElement("table"), body = document.createElement("tbody");
    body.append(row(["", "from", "to", "path", "packets", "lost", "jitter", "last packet", "MOS"], "th"));
    for (const media of party.medias) for (const source of media.sources) {
      // Of several who report, whoever fares worst.
      const [worst] = source.quality.filter(one => one.average.mos !== null).sort((one, other) => one.average.mos - other.average.mos);
      body.append(row([
        `${media.kind} ${source.component} ${media.codec ?? ""} ${media.direction ?? ""} ${media.protection === "plain" ? "" : media.protection}`,
        `${source.peer ?? "nobody yet"}${source.is_confirmed ? "" : " (not heard)"}${source.signalled && source.signalled !== source.peer ? `, signalled ${source.signalled}` : ""}`, source.local,
        source.path === "slow" ? `slow: ${source.reason}${source.intake ? ", by " + source.intake : ""}` : source.path ?? "–", count(source.fast_packets + source.slow_packets), count(source.lost),
        source.jitter_ms === null ? "–" : source.jitter_ms.toFixed(1) + " ms", span(source.last_packet_ago),
        worst ? `${score(worst.average.mos)} (${score(worst.lowest.mos)} to ${score(worst.highest.mos)})` : score(null)], "td"));
    }
    table.append(body);
    scroll.append(table);
    section.append(scroll);
    return section;
  }));
  const said = call.descriptions ?? [];
  const key = said.map(one => one.before + one.after).join();
  // As long as nothing new is said it stays, also where somebody has scrolled or marked it.
  if (at("descriptions").dataset.key !== key) {
    at("descriptions").dataset.key = key;
    at("descriptions").replaceChildren(...said.flatMap(one => [
      put("h2", `${one.kind} of ${one.tag}: as it came, and as it went on`),
      (() => {
        const pair = document.createElement("div");
        pair.className = "pair";
        pair.append(put("pre", one.before), put("pre", one.after));
        return pair;
      })(),
    ]));
  }
}

function row(cells, kind) {
  const element = document.createElement("tr");
  cells.forEach(cell => element.append(put(kind, cell)));
  return element;
}

function turn() {
  let id = null;
  try {
    if (location.hash.startsWith("#call=")) id = decodeURIComponent(location.hash.slice(6));
  } catch { /* no name of a call */ }
  at("overview").hidden = id !== null;
  at("callpage").hidden = id === null;
  if (id !== shown) {
    shown = id;
    last = null;
    if (id !== null) {
      at("callid").textContent = id;
      at("callstate").textContent = "";
      at("legs").replaceChildren();
      at("descriptions").replaceChildren();
      delete at("descriptions").dataset.key;
      callCharts ??= {
        packets: new Chart("callpackets", [["packets / s", "--mark"]]), loss: new Chart("callloss", [["lost", "--bad"]]),
        jitter: new Chart("calljitter", [["jitter, ms", "--doubt"]]), mos: new Chart("callmos", [["MOS", "--good"]]),
      };
      Object.values(callCharts).forEach(chart => chart.clear());
      showCall();
    }
  }
}
addEventListener("hashchange", turn);
setInterval(() => { if (shown !== null) showCall(); }, 1000);
turn();

// --- the daemon ---------------------------------------------------------------

const events = new EventSource("/events");
let heard = 0;
events.onmessage = event => { heard = Date.now(); show(JSON.parse(event.data)); };
setInterval(() => {
  if (Date.now() - heard > 3500) {
    at("state").textContent = "the daemon does not answer: what is below is as it was" + (heard ? " " + span((Date.now() - heard) / 1000) + " ago" : "");
    at("state").className = "bad";
  }
}, 1000);

at("drain").onclick = () => at("asktoken").showModal();
at("asktoken").onclose = async () => {
  const token = at("token").value;
  at("token").value = "";
  if (at("asktoken").returnValue !== "yes") return;
  const answer = await fetch("/drain", { method: "POST", headers: { authorization: "Bearer " + token } });
  if (!answer.ok) alert(await answer.text());
};
