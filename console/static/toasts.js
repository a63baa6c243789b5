// Messages that disappear after a few seconds, optionally with an undo button.

const SECONDS = 8;

export class Toasts {
  #region;
  #template;
  #undos = [];

  constructor(region, template) {
    this.#region = region;
    this.#template = template;
    addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select");
      if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key === "z" && !typing) {
        if (this.#undos.length) event.preventDefault();
        this.#undos.at(-1)?.();
      }
    });
  }

  // Calls either `undo` or `over` (when the time is up), exactly once. The time stops while the toast has the
  // pointer or the focus. Returns a function that closes the toast early, which counts as the end of the time.
  add(text, { undo = null, over = () => {} } = {}) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    const button = element.querySelector("button");
    element.querySelector("span").textContent = text;
    let left = 1000 * SECONDS;
    let since = 0;
    let timer = 0;

    const close = (then) => {
      clearTimeout(timer);
      this.#undos = this.#undos.filter((each) => each !== back);
      element.remove();
      then();
    };
    const back = () => close(undo);
    const run = () => {
      clearTimeout(timer);
      since = performance.now();
      timer = setTimeout(() => close(over), left);
    };
    const wait = () => {
      clearTimeout(timer);
      left = Math.max(1000, left - (performance.now() - since));
    };
    if (undo) {
      button.hidden = false;
      button.addEventListener("click", back);
      this.#undos.push(back);
    }
    for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, wait);
    for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, run);
    this.#region.append(element);
    run();
    return () => element.isConnected && close(over);
  }
}
