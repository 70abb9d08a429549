// Takes pictures that are dropped on the page or pasted, as if they had been chosen in the page's form.

const form = document.querySelector("form.picture-form");
const field = form.querySelector("input[type=file]");
const PICTURE = /^image\//;

function take(files) {
  // Of some pictures (HEIC), not every browser knows the type. The server says what it cannot take.
  const pictures = [...files].filter((file) => PICTURE.test(file.type) || /\.hei[cf]$/i.test(file.name));
  if (!pictures.length) return false;
  const chosen = new DataTransfer();
  for (const picture of field.multiple ? pictures : pictures.slice(0, 1)) chosen.items.add(picture);
  field.files = chosen.files;
  if ("sendAtOnce" in form.dataset) form.requestSubmit();
  else (form.querySelector("input:not([type=file], [type=hidden])") ?? field).focus();
  return true;
}

addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  form.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) form.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  form.classList.remove("dropping");
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (take(event.clipboardData.files)) event.preventDefault();
});

for (const hint of form.querySelectorAll(".drop-hint")) hint.hidden = false;
