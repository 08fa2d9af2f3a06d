// Buttons that copy the command beside them; without this script they are hidden.
"use strict";
document.documentElement.classList.add("js");
for (const button of document.querySelectorAll("[data-copy]")) {
  button.onclick = async () => {
    try { await navigator.clipboard.writeText(button.dataset.copy); }
    catch {
      // A page from a file may not reach the clipboard: select the text, and try the old way.
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
}
