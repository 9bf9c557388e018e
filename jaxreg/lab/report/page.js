for (const walk of document.querySelectorAll(".walk")) {
  const slider = walk.querySelector("input");
  const stops = walk.querySelectorAll(".stop");
  const marks = walk.querySelectorAll("[data-stop]");
  const show = () => {
    stops.forEach((stop, place) => { stop.hidden = place !== Number(slider.value); });
    marks.forEach((mark) => mark.setAttribute("visibility", mark.dataset.stop === slider.value ? "visible" : "hidden"));
    const label = stops[slider.value].dataset.label;
    walk.querySelector("output").textContent = label;
    slider.setAttribute("aria-valuetext", label);
  };
  slider.addEventListener("input", show);
  show();
}
const worth = (cell) => {
  const number = cell.querySelector("data");
  return number ? Number(number.value) : cell.textContent.trim();
};
for (const box of document.querySelectorAll(".table")) {
  const body = box.querySelector("tbody");
  const heads = [...box.querySelectorAll("thead th")];
  const rows = [...body.rows];
  if (rows.length < 3) continue;
  heads.forEach((head, place) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = [...rows].sort((one, two) => {
        const [a, b] = [worth(one.cells[place]), worth(two.cells[place])];
        const known = [a, b].map((value) => value !== "" && !Number.isNaN(value));
        if (!known[0] || !known[1]) return known[1] - known[0];
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return down ? -order : order;
      });
      body.append(...sorted);
    });
  });
  if (rows.length < 8) continue;
  const field = document.createElement("input");
  const label = document.createElement("label");
  field.type = "search";
  label.className = "filter";
  label.append("Only rows with ", field);
  box.querySelector(".wide").before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    rows.forEach((row) => { row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted); });
  });
}
const folded = document.querySelectorAll("details.printed:not([open])");
addEventListener("beforeprint", () => folded.forEach((part) => { part.open = true; }));
addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));
