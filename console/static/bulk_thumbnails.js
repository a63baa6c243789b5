// Small pictures of files, made only for rows that can be seen, one after the other: a picture in full takes much memory.

const SIDE = 88; // pixels; shown at half of it

export class Thumbnails {
  #waiting = [];
  #files = new WeakMap(); // canvas → file
  #observer;
  #working = false;

  constructor(root) {
    this.#observer = new IntersectionObserver((changes) => this.#see(changes), { root, rootMargin: "200px" });
  }

  watch(canvas, file) {
    this.#files.set(canvas, file);
    this.#observer.observe(canvas);
  }

  #see(changes) {
    for (const { target, isIntersecting } of changes) {
      this.#waiting = this.#waiting.filter((canvas) => canvas !== target);
      if (isIntersecting) this.#waiting.push(target);
    }
    this.#work();
  }

  async #work() {
    if (this.#working) return;
    this.#working = true;
    while (this.#waiting.length) {
      const canvas = this.#waiting.shift();
      if (!canvas.isConnected) continue;
      this.#observer.unobserve(canvas);
      await draw(canvas, this.#files.get(canvas));
    }
    this.#working = false;
  }
}

async function draw(canvas, file) {
  // A picture that the browser can't show keeps its empty box.
  const picture = await createImageBitmap(file, { resizeHeight: SIDE, resizeQuality: "medium" }).catch(() => null);
  if (!picture) return;
  const scale = Math.min(1, SIDE / picture.width);
  [canvas.width, canvas.height] = [Math.max(1, Math.round(picture.width * scale)), Math.max(1, Math.round(picture.height * scale))];
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
}
