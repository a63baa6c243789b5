// Changes of the list of pictures: moves and deletions, each with its undo.

import { inTurn, say } from "./api.js";
import { same } from "./pictures.js";

export class Changes {
  #pictures;
  #tools;
  #closeMove = () => {};

  // `shown(entry)` is called when an undo has brought a picture back.
  constructor(pictures, { toasts, announce, tell, shown }) {
    this.#pictures = pictures;
    this.#tools = { toasts, announce, tell, shown };
  }

  // Moves pictures to a position among the others, in their order.
  move(entries, place) {
    const others = this.#pictures.visible.filter((entry) => !entries.includes(entry));
    this.arrange([...others.slice(0, place), ...entries, ...others.slice(place)], entries);
  }

  // Sets the order of the visible pictures. `moved` are those that the user has moved.
  async arrange(order, moved) {
    const { announce, toasts, tell } = this.#tools;
    const before = this.#pictures.visible;
    this.#closeMove();
    this.#pictures.arrange(order);
    const message =
      moved.length > 1
        ? say("movedSeveral", { count: moved.length })
        : say("moved", { number: order.indexOf(moved[0]) + 1, count: order.length });
    announce(message);
    await this.#pictures.save().catch(tell);
    if (!same(this.#pictures.visible, order)) return; // it was refused, or there was a further change
    this.#closeMove();
    this.#closeMove = toasts.add(message, { undo: () => this.#moveBack(before) });
  }

  #moveBack(before) {
    const { announce, tell } = this.#tools;
    const now = this.#pictures.visible;
    const added = now.filter((entry) => !before.includes(entry));
    this.#pictures.arrange([...before.filter((entry) => now.includes(entry)), ...added]);
    announce(say("changeUndone"));
    this.#pictures.save().catch(tell);
  }

  delete(entries) {
    const { announce, toasts, tell, shown } = this.#tools;
    this.#closeMove();
    for (const entry of entries) this.#pictures.hide(entry);
    // If the page unloads before the deletion is sent, there is no time for further requests. Fetch a valid token
    // and the version of the list now.
    inTurn(() => this.#pictures.load()).catch(() => {});
    const several = entries.length > 1;
    const message = several ? say("deletedSeveral", { count: entries.length }) : say("deleted");
    announce(several ? message : say("deletedUndo"));
    toasts.add(message, {
      undo: () => {
        const back = entries.filter((entry) => this.#pictures.restore(entry));
        if (back.length) shown(back[0]);
        if (back.length < entries.length) announce(say("notRestored"), true);
        else announce(say(several ? "restoredSeveral" : "restored"));
      },
      over: () => {
        for (const entry of entries) this.#pictures.commit(entry);
        this.#pictures.save().catch(tell);
      },
    });
  }
}
