"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const find = (selector, from = document) => [...from.querySelectorAll(selector)];
  const read = (id) => {
    const element = document.getElementById(id);
    return element ? JSON.parse(element.textContent) : null;
  };

  // Filters act on rows, on the details of cases, and on the data of figures.
  const form = document.querySelector("form.filters:has(#count)");
  const rows = find("tr[data-row]");
  const views = [];
  let chosen = new Map();

  const fits = (values) => [...chosen].every(([name, kept]) => !(name in values) || kept.has(String(values[name])));

  function show() {
    chosen = new Map(find("fieldset[data-filter]", form).map((set) => [
      set.dataset.filter, new Set(find("input:checked", set).map((box) => box.value)),
    ]));
    let shown = 0;
    for (const row of rows) {
      row.hidden = !fits(row.dataset);
      shown += row.hidden ? 0 : 1;
    }
    for (const item of find("details.case")) item.hidden = !fits(item.dataset);
    for (const box of find(".scroll:has(table.matrix)")) box.hidden = !find("tr[data-row]:not([hidden])", box).length;
    document.getElementById("count").textContent =
      `${shown === rows.length ? "" : `${shown} of `}${rows.length} row${rows.length === 1 ? "" : "s"}`;
    for (const one of views) redraw(one);
  }

  function redraw({ view, datasets, card }) {
    const kept = Object.entries(datasets).map(([name, values]) => [name, values.filter(fits)]);
    card.hidden = kept.length > 0 && kept.every(([, values]) => !values.length);
    if (card.hidden) return;
    for (const [name, values] of kept) view.data(name, values);
    view.resize().runAsync();
  }

  function toggle(id, name, wanted) {
    const box = document.getElementById(id);
    const set = () => find("table.matrix").forEach((table) => table.classList.toggle(name, box ? box.checked !== wanted : true));
    if (box) box.addEventListener("change", set);
    set();
  }

  if (form) {
    form.addEventListener("change", show);
    form.addEventListener("reset", () => setTimeout(() => { show(); switches(); }));
  }
  function switches() {
    toggle("intervals", "plain-intervals", true);
    toggle("more", "fewer", true);
  }
  switches();

  // Columns sort by their values; those without one come last.
  for (const table of find("table.matrix")) {
    const headers = find("thead th", table);
    headers.forEach((header, place) => {
      if (place === headers.length - 1) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      button.title = header.title;
      header.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = header.getAttribute("aria-sort") === "ascending";
        headers.forEach((one) => one.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => place ? row.children[place].dataset.sort : row.dataset.model;
        const order = (a, b) => {
          if (place === 0) return a.localeCompare(b);
          if (a === "" || b === "") return (a === "") - (b === "") * 1;
          return Number(a) - Number(b);
        };
        const body = table.tBodies[0];
        const sorted = [...body.rows].sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          return place && (x === "" || y === "") ? order(x, y) : (down ? -1 : 1) * order(x, y);
        });
        body.append(...sorted);
      });
    });
  }

  // A link to a case opens it.
  function open() {
    const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (target instanceof HTMLDetailsElement) target.open = true;
  }
  window.addEventListener("hashchange", open);
  open();

  // Figures become interactive once the page is painted.
  const figures = read("figures");
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  document.body.append(box);

  function tip(_handler, event, item, value) {
    const datum = item && item.datum;
    const text = datum && (datum.tip || (datum.datum && datum.datum.tip));
    box.hidden = value === null || value === undefined || !text;
    if (box.hidden) return;
    box.replaceChildren(text);
    const command = figures.commands[datum.identity];
    if (command) {
      const code = document.createElement("code");
      code.textContent = command;
      box.append(code);
    }
    const left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8);
    const top = event.clientY + 18 + box.offsetHeight > innerHeight ? event.clientY - box.offsetHeight - 10 : event.clientY + 18;
    box.style.left = `${Math.max(8, left)}px`;
    box.style.top = `${Math.max(8, top)}px`;
  }

  // Charts as wide as their place: those that are narrower are drawn anew, not scaled.
  function fitted(spec, room) {
    if (Array.isArray(spec)) return spec.map((part) => fitted(part, room));
    if (!spec || typeof spec !== "object") return spec;
    const copy = { ...spec };
    for (const part of ["vconcat", "layer", "spec"]) if (copy[part]) copy[part] = fitted(copy[part], room);
    if (typeof copy.width === "number" && copy.width > 200) copy.width = Math.max(170, Math.min(copy.width * 1.25, room - (620 - copy.width)));
    return copy;
  }

  async function draw(place) {
    const spec = figures.specs[Number(place.dataset.figure)];
    const narrow = place.clientWidth < 520;
    const config = structuredClone(spec.config);
    config.mark = { tooltip: { content: "data" } };
    if (narrow) Object.assign(config.axis, { labelLimit: 120, labelFontSize: 11 });
    if (narrow) Object.assign(config.legend, { columns: 1, labelLimit: 240 });
    const room = place.clientWidth - (narrow ? -20 : 80);
    const target = document.createElement("div");
    const { view } = await window.sfbenchEmbed(target, { ...fitted(spec, room), config }, {
      actions: false, renderer: "svg", mode: "vega-lite", tooltip: tip, ast: false,
    });
    place.replaceChildren(target);
    const one = { view, datasets: spec.datasets || {}, card: place.closest(".card") };
    views.push(one);
    if (chosen.size) redraw(one);
  }

  function start() {
    const source = document.getElementById("plotting");
    const places = find("[data-figure]");
    if (!source || !figures || !places.length) return;
    const script = document.createElement("script");
    script.textContent = source.textContent;
    document.head.append(script);
    if (!window.sfbenchEmbed) return;
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        watcher.unobserve(entry.target);
        draw(entry.target).catch((error) => console.error(error));
      }
    }, { rootMargin: "300px" });
    for (const place of places) watcher.observe(place);
  }
  requestAnimationFrame(() => setTimeout(start, 50));

  // The numbers as a file.
  function cell(value) {
    let text = value === null ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  document.getElementById("csv")?.addEventListener("click", () => {
    const { columns, data } = read("data");
    const values = columns.map((name) => {
      const { texts, codes } = data[name];
      return texts ? codes.map((code) => (code < 0 ? null : texts[code])) : data[name];
    });
    const lines = [columns, ...values[0].map((_, place) => values.map((column) => column[place]))];
    const text = lines.map((row) => row.map(cell).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "sfbench.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  // A page of a running server asks whether there is a newer one.
  if ("live" in document.documentElement.dataset) {
    let version = null;
    setInterval(async () => {
      try {
        const answer = await fetch("version", { cache: "no-store" });
        const now = await answer.text();
        if (version !== null && now !== version) location.reload();
        version = now;
      } catch { /* the server has ended: the page stays */ }
    }, 2000);
  }
})();
