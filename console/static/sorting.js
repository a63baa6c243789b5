// Reordering by pointer, with SortableJS. A mouse drags a picture anywhere; a finger drags the handle, so that it can
// scroll elsewhere. Near an edge of the window the page scrolls.

import "./vendor/Sortable.min.js"; // defines the global Sortable

const THRESHOLD_PX = 6;
const EDGE_PX = 90;
const SPEED_PX = 18;

let dragging = false;

// Whether a picture is being dragged. The list must not be rendered meanwhile.
export function isDragging() {
  return dragging;
}

// `dropped(item)` is called when a picture has another place among the list's children, `ended()` after every drag.
// `together(item)` is the number of pictures that move with the picture.
export function makeSortable(list, { dropped, ended, together }) {
  let order = [];
  let cancelled = false;
  const root = document.documentElement;

  const sortable = globalThis.Sortable.create(list, {
    draggable: ".picture",
    handle: ".view, .handle",
    filter: (event) => isTouch(event) && !event.target.closest(".handle"),
    preventOnFilter: false,
    direction: "horizontal",
    animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 150,
    forceFallback: true, // the browser's own dragging can't be cancelled, and knows no touch
    fallbackOnBody: true,
    fallbackTolerance: THRESHOLD_PX,
    fallbackClass: "ghost",
    ghostClass: "dragged",
    scrollSensitivity: EDGE_PX,
    scrollSpeed: SPEED_PX,
    onChoose({ item }) {
      const count = together(item);
      if (count > 1) item.dataset.count = count; // the ghost is a copy of the item
    },
    onUnchoose: ({ item }) => delete item.dataset.count,
    onStart() {
      dragging = true;
      cancelled = false;
      order = [...list.children];
      root.classList.add("dragging");
    },
    onEnd({ item, oldIndex, newIndex }) {
      dragging = false;
      root.classList.remove("dragging");
      swallowClick();
      if (cancelled) list.append(...order);
      else if (oldIndex !== newIndex) dropped(item);
      ended();
    },
  });

  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !dragging) return;
    cancelled = true;
    const up = sortable.option("supportPointer") ? "pointercancel" : "mouseup";
    document.dispatchEvent(new Event(up, { bubbles: true }));
  });
}

function isTouch(event) {
  return event.pointerType === "touch" || event.type === "touchstart";
}

// Suppresses the click event that follows a drag: it would open the picture.
function swallowClick() {
  const swallow = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  addEventListener("click", swallow, { capture: true, once: true });
  setTimeout(() => removeEventListener("click", swallow, { capture: true }));
}
