"use strict";
(() => {
  const form = document.querySelector("form.filters");
  const rows = [...document.querySelectorAll("tr[data-row]")];
  const count = document.getElementById("count");

  function show() {
    const chosen = new Map();
    for (const set of form.querySelectorAll("fieldset")) {
      const boxes = [...set.querySelectorAll("input:checked")];
      chosen.set(set.dataset.filter, new Set(boxes.map((box) => box.value)));
    }
    let shown = 0;
    for (const row of rows) {
      row.hidden = ![...chosen].every(([name, values]) => values.has(row.dataset[name]));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  }

  form.addEventListener("change", show);
  form.addEventListener("reset", () => setTimeout(show));

  function cell(value) {
    const text = value === null ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  document.getElementById("csv").addEventListener("click", () => {
    const { columns, data } = JSON.parse(document.getElementById("data").textContent);
    const values = columns.map((name) => {
      const { texts, codes } = data[name];
      return texts ? codes.map((code) => (code < 0 ? null : texts[code])) : data[name];
    });
    const rows = values[0].map((_, place) => values.map((column) => column[place]));
    const lines = [columns, ...rows].map((row) => row.map(cell).join(","));
    const file = new Blob([lines.join("\n") + "\n"], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "sfbench.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
