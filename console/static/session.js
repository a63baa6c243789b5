// Signs the user in again, in a dialog, after the session of the page has ended.

const PAGE = "/console/sign-in";

// Resolves to whether the page has a session of the same user again, and adopts its CSRF token.
export async function signInAgain() {
  const dialog = document.getElementById("session-dialog");
  if (!dialog) return false;
  if (adopt(await pageAt(PAGE), dialog)) return true; // the user signed in again in another tab
  return ask(dialog);
}

function ask(dialog) {
  const form = dialog.querySelector("form");
  const [problem, button] = [form.querySelector(".problem"), form.querySelector("[type=submit]")];
  const focused = document.activeElement;
  problem.hidden = true;
  form.reset();
  dialog.showModal();
  return new Promise((resolve) => {
    let signedIn = false;
    form.querySelector("[data-close]").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      const page = await submit(form).catch(() => null);
      button.disabled = false;
      signedIn = page !== null && adopt(page, dialog);
      if (signedIn) return dialog.close();
      const sentence = page?.querySelector(".problem")?.textContent.trim();
      problem.textContent = sentence || form.dataset.unreachable;
      problem.hidden = false;
      form.elements.password.select();
    };
    dialog.onclose = () => {
      form.reset();
      focused?.focus();
      resolve(signedIn);
    };
  });
}

async function submit(form) {
  const page = await pageAt(PAGE);
  const csrf = page.querySelector('form [name="csrf"]')?.value ?? "";
  const { email, password } = Object.fromEntries(new FormData(form));
  // The answer is the sign-in page with a sentence, or a redirect to the console.
  return pageAt(PAGE, { method: "POST", body: new URLSearchParams({ csrf, email, password }) });
}

async function pageAt(path, options) {
  const response = await fetch(path, options);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// Takes over the session of a page, if it is of the same user.
function adopt(page, dialog) {
  const fresh = page.querySelector('meta[name="csrf-token"]');
  const email = page.querySelector('meta[name="user"]')?.content;
  if (!fresh || email !== dialog.querySelector("[name=email]").value) return false;
  document.querySelector('meta[name="csrf-token"]').content = fresh.content;
  for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = fresh.content;
  return true;
}
