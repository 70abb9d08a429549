// The icons of the toolbar, drawn like those of templates/web/staff/_macros.html.
const PATHS = {
  strong: "M7 5h6a3.5 3.5 0 0 1 0 7H7zM7 12h7a3.5 3.5 0 0 1 0 7H7z",
  em: "M10 5h7M7 19h7M14 5l-4 14",
  strike: "M4 12h16M16.5 8.5C16.5 6.5 14.5 5 12 5S7.5 6.5 7.5 8.500c0 1.5 1 2.7 2.5 3.500M7.5 15.500c0 2 2 3.5 4.5 3.500s4.5-1.5 4.5-3.500c0-1.3-.6-2.6-1.8-3.5",
  sup: "M4 8l8 11M12 8L4 19M16 6c0-1.2 1-2 2-2s2 .8 2 2c0 1.5-4 3-4 4.500h4",
  sub: "M4 5l8 11M12 5L4 16M16 15.500c0-1.2 1-2 2-2s2 .8 2 2c0 1.5-4 3-4 4.500h4",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4.2 4.2 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6-.4l-3 3a4.2 4.2 0 0 0 6 6l1-1",
  heading: "M6 5v14M18 5v14M6 12h12",
  quote: "M10 7H5v6h5V7c0 5-1 8-4 10M19 7h-5v6h5V7c0 5-1 8-4 10",
  bullets: "M9 6h11M9 12h11M9 18h11M4.5 6h.01M4.5 12h.01M4.5 18h.01",
  numbers: "M10 6h10M10 12h10M10 18h10M4 5l1.5-1v5M4 15.500c0-.9.7-1.5 1.5-1.500S7 14.5 7 15.300c0 1.2-3 2.2-3 3.700h3",
  nest: "M4 5h16M12 10h8M12 14h8M4 19h16M4 9l4 3-4 3",
  lift: "M4 5h16M12 10h8M12 14h8M4 19h16M8 9l-4 3 4 3",
  table: "M4 5h16v14H4zM4 10h16M4 14.500h16M10 10v9M15 10v9",
  undo: "M9 7L4 12l5 5M4 12h10a5 5 0 0 1 5 5v1",
  redo: "M15 7l5 5-5 5M20 12H10a5 5 0 0 0-5 5v1",
};
const DIRECTED = new Set(["nest", "lift", "bullets", "numbers", "undo", "redo", "quote"]);
const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", DIRECTED.has(name) ? "icon" : "icon upright");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
