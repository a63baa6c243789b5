// Reordering by pointer. A mouse drags a picture anywhere; a finger drags the handle, so that it can scroll
// elsewhere.

const THRESHOLD = 6;

// `drop(item, place)` is called with the new place among the list's children.
export function makeSortable(list, drop) {
  let drag = null;

  list.addEventListener("pointerdown", (event) => {
    const item = event.target.closest(".picture");
    const handle = event.target.closest('[data-do="drag"]');
    if (!item || event.button !== 0 || drag) return;
    if (!handle && (event.pointerType === "touch" || !event.target.closest(".view"))) return;
    drag = { item, id: event.pointerId, x: event.clientX, y: event.clientY, began: false };
  });

  addEventListener("pointermove", (event) => {
    if (event.pointerId !== drag?.id) return;
    if (!drag.began && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < THRESHOLD) return;
    if (!drag.began) begin();
    follow(event);
  });
  addEventListener("pointerup", (event) => event.pointerId === drag?.id && end(true));
  addEventListener("pointercancel", (event) => event.pointerId === drag?.id && end(false));
  addEventListener("keydown", (event) => event.key === "Escape" && drag?.began && end(false));

  function begin() {
    const box = drag.item.getBoundingClientRect();
    const ghost = drag.item.querySelector("img").cloneNode();
    ghost.className = "ghost";
    ghost.style.width = `${box.width}px`;
    ghost.style.height = `${box.width}px`;
    document.body.append(ghost);
    // The list captures the pointer because it stays in place; a moved element would lose the capture.
    list.setPointerCapture(drag.id);
    Object.assign(drag, { began: true, ghost, dx: box.left - drag.x, dy: box.top - drag.y });
    drag.home = drag.item.nextElementSibling;
    drag.item.classList.add("dragged");
    document.documentElement.classList.add("dragging");
  }

  function follow({ clientX: x, clientY: y }) {
    drag.ghost.style.transform = `translate(${x + drag.dx}px, ${y + drag.dy}px)`;
    const over = document.elementFromPoint(x, y)?.closest(".picture");
    if (!over || over === drag.item || over.parentElement !== list) return;
    const box = over.getBoundingClientRect();
    const children = [...list.children];
    const forward = children.indexOf(over) > children.indexOf(drag.item);
    // Swap only past the middle of the other picture; otherwise the two would swap back and forth.
    if (forward ? x > box.left + box.width / 2 : x < box.left + box.width / 2) {
      over[forward ? "after" : "before"](drag.item);
    }
  }

  function end(kept) {
    const { item, began, ghost, home } = drag;
    drag = null;
    if (!began) return;
    ghost.remove();
    item.classList.remove("dragged");
    document.documentElement.classList.remove("dragging");
    // Suppress the click event that follows: it would open the picture.
    addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => removeEventListener("click", swallow, { capture: true }));
    if (!kept) list.insertBefore(item, home);
    else drop(item, [...list.children].indexOf(item));
  }
}

function swallow(event) {
  event.preventDefault();
  event.stopPropagation();
}
