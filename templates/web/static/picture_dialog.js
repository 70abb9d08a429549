// Takes a picture that was dropped on the page of a story or pasted there: what it shows is asked for, then it is sent.

const VIEW_PX = 320;

// `page`: text() → {alt, credit, shown} as the page has them; token() → the token of the session, null if it ended;
// onSet(answer, {alt, credit}).
export class PictureDialog {
  constructor(dialog, page) {
    this.dialog = dialog;
    this.page = page;
    this.form = dialog.querySelector("form");
    this.texts = JSON.parse(this.form.dataset.texts);
    this.progress = dialog.querySelector("progress");
    [this.words, this.error] = ["progress", "error"].map((name) => dialog.querySelector(`#picture-${name}`));
    const { alt, credit } = this.form.elements;
    this.fields = { alt, credit };
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    dialog.querySelector("#picture-cancel").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.request?.abort());
  }

  open(file) {
    if (this.request) return;
    this.file = file;
    const { alt, credit, shown } = this.page.text();
    // What is written for a picture that is not there yet is about this one.
    this.fields.alt.value = shown ? "" : alt;
    this.fields.credit.value = shown ? "" : credit;
    this.dialog.querySelector("#picture-replaces").hidden = !shown;
    this.#complain("");
    this.#say("");
    this.#draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.fields.alt.focus();
  }

  async #draw() {
    const view = this.dialog.querySelector("canvas");
    view.hidden = true;
    try {
      const picture = await createImageBitmap(this.file);
      const scale = Math.min(1, VIEW_PX / picture.width, (VIEW_PX * 0.625) / picture.height);
      view.width = Math.max(1, picture.width * scale);
      view.height = Math.max(1, picture.height * scale);
      view.getContext("2d").drawImage(picture, 0, 0, view.width, view.height);
      view.hidden = false;
      picture.close();
    } catch {
      // The browser cannot show it. The server says whether it can.
    }
  }

  async #send() {
    if (this.request) return;
    const [alt, credit] = [this.fields.alt.value.trim(), this.fields.credit.value.trim()];
    if (!alt) {
      this.#complain(this.texts.alt_missing, this.fields.alt);
      return;
    }
    this.#complain("");
    this.request = new XMLHttpRequest(); // fetch tells nothing of how much is sent
    try {
      const token = await this.page.token();
      if (token === null) throw new Error(this.texts.signed_out);
      const answer = await this.#post(token, alt, credit);
      this.page.onSet(answer, { alt, credit });
      this.request = null;
      this.dialog.close();
    } catch (error) {
      this.#complain(error instanceof TypeError ? this.texts.unanswered : error.message);
    } finally {
      this.request = null;
      this.#say("");
    }
  }

  #post(token, alt, credit) {
    const order = new FormData(this.form);
    order.set("form_token", token);
    order.set("alt", alt);
    order.set("credit", credit);
    order.set("pictures", this.file, this.file.name || "picture");
    const { request, texts } = this;
    request.open("POST", this.form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const words = texts.sending.replace("%(percent)s", percent.format(loaded / total));
      this.#say(loaded < total ? words : texts.preparing, loaded < total ? loaded / total : null);
    });
    const errors = { 401: texts.signed_out, 403: texts.forbidden, 404: texts.gone, 413: texts.too_large };
    return new Promise((resolve, reject) => {
      request.addEventListener("load", () => {
        const { status, response } = request;
        if (status === 200 && response) resolve(response);
        else reject(new Error(errors[status] ?? response?.message ?? texts.unanswered));
      });
      request.addEventListener("error", () => reject(new Error(texts.unanswered)));
      request.addEventListener("abort", () => reject(new Error("")));
      request.send(order);
    });
  }

  #complain(message, field) {
    this.error.textContent = message;
    this.error.hidden = !message;
    this.fields.alt.setAttribute("aria-invalid", String(field === this.fields.alt));
    field?.focus();
  }

  // `done`: how much of the work, null if that is not known.
  #say(words, done) {
    this.words.textContent = words;
    this.words.hidden = this.progress.hidden = !words;
    if (done === null) this.progress.removeAttribute("value");
    else this.progress.value = done ?? 0;
    this.form.querySelector("button.primary").disabled = Boolean(words);
  }
}
