// Proof of work: finds an answer for which the SHA-256 of "ticket:answer" begins with some zero bits.
// It makes sign-ups in bulk cost computing time, and proves no person.
// The form also works without it, if filling it in takes long enough.

const form = document.querySelector("form[data-bits]");
const bits = Number(form.dataset.bits);
const ticket = form.elements.ticket.value;
const encoder = new TextEncoder();

async function zeros(answer) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(`${ticket}:${answer}`)));
  let found = 0;
  for (const byte of hash) {
    found += Math.clz32(byte) - 24;
    if (byte) break;
  }
  return found;
}

async function work() {
  for (let answer = 0; ; answer += 1) {
    if ((await zeros(answer)) >= bits) return answer;
  }
}

if (globalThis.crypto?.subtle) {
  const done = work().then((answer) => {
    form.elements.answer.value = answer;
  });
  form.addEventListener("submit", async (event) => {
    if (form.elements.answer.value) return;
    event.preventDefault();
    await done;
    form.submit();
  });
}
