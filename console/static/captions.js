// The alternative text under a picture: a caption, which a field replaces while one edits it.

const parts = (item) => ({ box: item.querySelector(".alt-box"), field: item.querySelector("textarea") });

// Opens the field under a picture.
export function describe(item) {
  const { box, field } = parts(item);
  box.hidden = false;
  field.focus();
  field.select();
}

// Closes the field when it is left. Enter and Escape go back to the caption, Ctrl+Enter goes on to the next picture.
// `reset(field)` shows the saved text again.
export function makeCaptions(list, reset) {
  const close = (item) => {
    parts(item).box.hidden = true;
  };
  list.addEventListener("focusout", ({ target }) => target.matches("textarea") && close(target.closest(".picture")));
  list.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (!target.matches("textarea") || event.isComposing || !["Enter", "Escape"].includes(key)) return;
    const item = target.closest(".picture");
    if (key === "Escape") reset(target);
    const next = key === "Enter" && (event.ctrlKey || event.metaKey) && item.nextElementSibling;
    if (next) describe(next);
    else item.querySelector(".caption").focus();
  });
}
