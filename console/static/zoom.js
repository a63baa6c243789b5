// Zooming and panning a picture within its stage, by wheel, pinch, drag and double click.

const STEP = 1.4;
const MOST = 8; // pixels of the screen for one of the picture
const SWIPE_PX = 50;

export class Zoom {
  #stage;
  #image;
  #size = null; // { width, height } of the picture, in its own pixels
  #scale = 1; // pixels of the screen for one of the picture
  #fitted = true;
  #x = 0;
  #y = 0;
  #pointers = new Map(); // pointer id → its last event
  #start = null;
  #changed;
  #swiped;

  // `changed(fitted, scale)` is called after each change, `swiped(step)` when a finger swipes over a fitted picture.
  constructor(stage, image, { changed, swiped }) {
    this.#stage = stage;
    this.#image = image;
    this.#changed = changed;
    this.#swiped = swiped;
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) => this.toggle(event));
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.#up(event));
    image.addEventListener("load", () => this.#adopt());
    new ResizeObserver(() => this.#draw()).observe(stage);
  }

  // Shows a picture as a whole. `size` may be unknown until the picture is loaded.
  reset({ width, height }) {
    this.#size = width ? { width, height } : null;
    this.#fitted = true;
    this.#draw();
  }

  #adopt() {
    if (this.#size || !this.#image.naturalWidth) return;
    this.#size = { width: this.#image.naturalWidth, height: this.#image.naturalHeight };
    this.#draw();
  }

  get fitted() {
    return this.#fitted;
  }

  in() {
    this.#by(STEP);
  }

  out() {
    this.#by(1 / STEP);
  }

  fit() {
    this.#fitted = true;
    this.#draw();
  }

  // Switches between the whole picture and its own size.
  toggle(event = null) {
    if (this.#fitted && this.#fit !== 1) this.#by(1 / this.#scale, event);
    else if (this.#fitted) this.#by(2, event);
    else this.fit();
  }

  actual() {
    this.#by(1 / this.#scale);
  }

  pan(right, down) {
    this.#x -= right;
    this.#y -= down;
    this.#draw();
  }

  // The scale at which the whole picture is shown, not larger than it is.
  get #fit() {
    const { clientWidth, clientHeight } = this.#stage;
    return Math.min(1, clientWidth / this.#size.width, clientHeight / this.#size.height);
  }

  // Zooms by a factor. The point of the picture at a pointer stays where it is.
  #by(factor, event = null) {
    if (!this.#size) return;
    const box = this.#stage.getBoundingClientRect();
    const [x, y] = event ? [event.clientX - box.left, event.clientY - box.top] : [box.width / 2, box.height / 2];
    const before = this.#scale;
    this.#scale = Math.min(MOST, Math.max(this.#fit, before * factor));
    this.#fitted = this.#scale <= this.#fit;
    this.#x = x - ((x - this.#x) * this.#scale) / before;
    this.#y = y - ((y - this.#y) * this.#scale) / before;
    this.#draw();
  }

  #draw() {
    const { style } = this.#image;
    if (!this.#size) {
      for (const name of ["width", "height", "transform"]) style[name] = "";
      this.#changed(true, 1);
      return;
    }
    if (this.#fitted) this.#scale = this.#fit;
    const [width, height] = [this.#size.width * this.#scale, this.#size.height * this.#scale];
    this.#x = within(this.#x, this.#stage.clientWidth, width);
    this.#y = within(this.#y, this.#stage.clientHeight, height);
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.transform = `translate(${this.#x}px, ${this.#y}px)`;
    this.#changed(this.#fitted, this.#scale);
  }

  #wheel(event) {
    event.preventDefault();
    this.#by(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 500)), event);
  }

  #down(event) {
    if (event.target.closest("button") || event.button !== 0) return;
    this.#pointers.set(event.pointerId, event);
    this.#start = event;
    if (!this.#fitted || this.#pointers.size > 1) this.#stage.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const [other] = [...this.#pointers.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    this.#pointers.set(event.pointerId, event);
    if (other) {
      this.#start = null;
      this.#by(distance(event, other) / distance(before, other), middle(event, other));
    } else if (!this.#fitted) {
      this.pan(before.clientX - event.clientX, before.clientY - event.clientY);
    }
  }

  #up(event) {
    const start = this.#start;
    if (!this.#pointers.delete(event.pointerId) || !start || !this.#fitted) return;
    this.#start = null;
    const [right, down] = [event.clientX - start.clientX, event.clientY - start.clientY];
    const swipe = event.type === "pointerup" && event.pointerType === "touch" && Math.abs(right) > SWIPE_PX;
    if (swipe && Math.abs(right) > 2 * Math.abs(down)) this.#swiped(right < 0 ? 1 : -1);
  }
}

// The offset of a picture that covers its stage, or is in its middle.
function within(offset, room, length) {
  return length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, offset));
}

const distance = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1;
const middle = (a, b) => ({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
