// Shows which part of a picture a crop keeps. The frame is moved with the pointer or with arrow keys; both move the
// sliders, and these alone are sent.

const form = document.querySelector("form.crop-form");
const view = form?.querySelector(".crop-view");
const frame = view?.querySelector(".crop-frame");
const [width, height] = view ? [Number(view.dataset.width), Number(view.dataset.height)] : [0, 0];

function show() {
  const format = form.querySelector("[name=format]:checked");
  const [wide, high] = [Number(format.dataset.width), Number(format.dataset.height)];
  const left = Math.min(Math.max((width * form.x.value) / 100 - wide / 2, 0), width - wide);
  const top = Math.min(Math.max((height * form.y.value) / 100 - high / 2, 0), height - high);
  frame.style.left = `${(100 * left) / width}%`;
  frame.style.top = `${(100 * top) / height}%`;
  frame.style.width = `${(100 * wide) / width}%`;
  frame.style.height = `${(100 * high) / height}%`;
  form.x.disabled = wide === width;
  form.y.disabled = high === height;
}

function moveTo(event) {
  const place = view.getBoundingClientRect();
  form.x.value = Math.round((100 * (event.clientX - place.left)) / place.width);
  form.y.value = Math.round((100 * (event.clientY - place.top)) / place.height);
  show();
}

if (frame) {
  const STEPS = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: ["y", -1], ArrowDown: ["y", 1] };
  frame.hidden = false;
  form.addEventListener("input", show);
  frame.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    const [name, step] = STEPS[event.key];
    form[name].value = Number(form[name].value) + step * (event.shiftKey ? 10 : 2);
    show();
  });
  view.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    frame.focus();
    view.setPointerCapture(event.pointerId);
    moveTo(event);
  });
  view.addEventListener("pointermove", (event) => {
    if (view.hasPointerCapture(event.pointerId)) moveTo(event);
  });
  show();
}
