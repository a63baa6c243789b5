// The keys of the pictures, and their tab stops: each picture has two, its link and its toolbar.

const ACTIONS = { Delete: "delete", F2: "describe" };
const MOVES = { ArrowLeft: "earlier", ArrowRight: "later" };

// `act(item, name)` runs an action of a picture.
export function makeTools(list, act) {
  list.addEventListener("keydown", (event) => {
    const { key, shiftKey, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("textarea")) return;
    const item = target.closest(".picture");
    const name = shiftKey ? MOVES[key] : (ACTIONS[key] ?? (key === " " && target.matches(".view") && "choose"));
    if (name) act(item, name);
    if (name || (!shiftKey && goOn(list, item, target, key))) event.preventDefault();
  });
  // The control that had the focus last is the tab stop of its toolbar.
  list.addEventListener("focusin", ({ target }) => {
    const toolbar = target.closest("[role=toolbar]");
    if (!toolbar) return;
    for (const control of controls(toolbar)) control.tabIndex = control === target ? 0 : -1;
  });
}

// Sets the tab stop of a new toolbar.
export function prepareToolbar(toolbar) {
  for (const [place, control] of controls(toolbar).entries()) control.tabIndex = place === 0 ? 0 : -1;
}

function controls(toolbar) {
  return [...toolbar.querySelectorAll("button:not([aria-hidden]), input")];
}

// Moves the focus by an arrow key: among the tools of a picture, or from picture to picture.
function goOn(list, item, target, key) {
  const toolbar = target.closest("[role=toolbar]");
  const stops = toolbar
    ? controls(toolbar).filter((control) => control.checkVisibility())
    : [...list.querySelectorAll(".view")];
  const place = stops.indexOf(target);
  const steps = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: stops.length - 1 };
  const next = key in steps ? stops[steps[key]] : toolbar ? null : below(stops, item, key);
  next?.focus();
  return key in steps || (!toolbar && ["ArrowUp", "ArrowDown"].includes(key));
}

// The picture above or below another one: of those in that direction, the nearest.
function below(stops, item, key) {
  const sign = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (!sign) return undefined;
  const from = item.getBoundingClientRect();
  const distance = (stop) => {
    const box = stop.closest(".picture").getBoundingClientRect();
    const down = sign > 0 ? box.top - from.bottom : from.top - box.bottom;
    return down < -1 ? Infinity : down * 10 + Math.abs(box.left - from.left);
  };
  const nearest = stops.map((stop) => [distance(stop), stop]).sort(([a], [b]) => a - b)[0];
  return nearest[0] < Infinity ? nearest[1] : undefined;
}
