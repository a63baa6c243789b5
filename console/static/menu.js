// Closes the menu of the header at a click beside it, at Escape, and when the focus leaves it.

const menu = document.querySelector("details.menu");

function close() {
  menu.open = false;
}

if (menu) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) close();
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    close();
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) close();
  });
}
