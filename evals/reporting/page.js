"use strict";
// The filter of the failing cases. What is chosen lives in the address (#category=…&text=…), so that a view can be
// linked to, and the page's own figures are such links.
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const cases = [...document.querySelectorAll("details.case")];
  const fields = [...form.elements].filter((field) => field.name);
  const shown = form.querySelector("output");
  const nothing = document.getElementById("nothing");
  const opener = form.querySelector("[data-do=open]");
  const words = new Map(); // what the text of a case is, in small letters, once it was asked for

  const textOf = (one) => {
    if (!words.has(one)) words.set(one, one.textContent.toLowerCase());
    return words.get(one);
  };
  const holds = (one, name, value) =>
    name === "text"
      ? value.toLowerCase().split(/\s+/).every((word) => textOf(one).includes(word))
      : one.dataset[name].split("\n").includes(value);
  const visible = () => cases.filter((one) => !one.hidden);

  function apply() {
    const chosen = fields.filter((field) => field.value.trim()).map((field) => [field.name, field.value.trim()]);
    for (const one of cases) one.hidden = !chosen.every(([name, value]) => holds(one, name, value));
    const count = visible().length;
    shown.value = count === cases.length ? `${count} answers` : `${count} of ${cases.length} answers`;
    nothing.hidden = count > 0;
    tellOpener();
    return chosen;
  }
  function tellOpener() {
    opener.textContent = visible().some((one) => !one.open) ? "open all" : "close all";
  }
  function remember() {
    const chosen = new URLSearchParams(apply()).toString();
    history.replaceState(null, "", chosen ? `#${chosen}` : location.pathname + location.search);
  }
  function recall() {
    if (!location.hash.includes("=")) return apply();
    const chosen = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = chosen.get(field.name) ?? "";
    apply();
    document.getElementById("failing").scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("input", remember);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(remember));
  opener.addEventListener("click", () => {
    const open = visible().some((one) => !one.open);
    for (const one of visible()) one.open = open;
  });
  document.querySelector(".cases").addEventListener("toggle", tellOpener, true);
  addEventListener("hashchange", recall);
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      form.elements.text.focus();
    } else if (event.key === "Escape" && form.contains(event.target)) {
      form.reset();
    }
  });
  recall();
})();
