// Submits the secret of the link that opened this page. It is in the fragment, which no server has received, and
// is removed from the address, so that the browser's history does not keep it.

const field = document.getElementById("link");

function open() {
  const secret = location.hash.slice(1);
  if (!secret) return;
  history.replaceState(null, "", location.pathname);
  field.value = secret;
  field.form.requestSubmit();
}

window.addEventListener("hashchange", open);
open();
