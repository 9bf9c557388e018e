for (const walk of document.querySelectorAll(".walk")) {
  const slider = walk.querySelector("input");
  const stops = walk.querySelectorAll(".stop");
  const show = () => {
    stops.forEach((stop, place) => { stop.hidden = place !== Number(slider.value); });
    const label = stops[slider.value].dataset.label;
    walk.querySelector("output").textContent = label;
    slider.setAttribute("aria-valuetext", label);
  };
  slider.addEventListener("input", show);
  show();
}
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
