"use strict";
(() => {
  const PRINT_WIDTH = 680; // px that an A4 page has between its margins
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const narrow = matchMedia("(max-width: 640px)");
  const config = { displayModeBar: false, doubleClick: false, responsive: true };

  const draw = (picture, width) => {
    const layout = structuredClone(narrow.matches && !width ? picture.narrow : picture.wide);
    if (width) Object.assign(layout, { width, autosize: false });
    document.getElementById(picture.id).style.height = `${layout.height}px`;
    return Plotly.react(picture.id, structuredClone(picture.traces), layout, config);
  };
  const drawAll = (width) => Promise.all(pictures.map((picture) => draw(picture, width)));

  drawAll().then(() => document.documentElement.setAttribute("data-drawn", "true"));
  narrow.addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => drawAll(PRINT_WIDTH));
  addEventListener("afterprint", () => drawAll());
})();
