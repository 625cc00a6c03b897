/* Licensed under the Apache License, Version 2.0; see LICENSE.
 *
 * The logon page's comforts.  Nothing here is needed to log on: without
 * script the form posts its radio buttons and its checkbox by itself.
 */
(function () {
  "use strict";

  var TWO_WEEKS = 14 * 24 * 60 * 60;
  var BUSY_FOR = 20000; /* ms; then one may press the button once more */
  var secure = location.protocol === "https:" ? "; Secure" : "";
  var form = document.getElementById("logonForm");
  var sent = false;

  function part(id) {
    return document.getElementById(id);
  }

  function checked(id) {
    return !!(part(id) && part(id).checked);
  }

  function setCookie(name, value, rest) {
    document.cookie = name + "=" + value + "; path=/; SameSite=Lax" + secure +
        (rest || "");
  }

  function cookie(name) {
    var found = ("; " + document.cookie).split("; " + name + "=");
    return found.length > 1 ? found[1].split(";")[0] : "";
  }

  function cookiesWork() {
    var works;
    setCookie("cookieTest", "1");
    works = cookie("cookieTest") === "1";
    setCookie("cookieTest", "", "; Max-Age=0");
    return works;
  }

  /* acc=<0|1>&lgn=<name>: only ever written on a private computer. */
  function remembered() {
    var words = /^acc=([01])&lgn=(.*)$/.exec(cookie("logondata"));
    var name = "";
    if (!words)
      return;
    try {
      name = decodeURIComponent(words[2]);
    } catch (broken) {
      return;
    }
    if (part("username") && !part("username").value)
      part("username").value = name;
    if (part("private"))
      part("private").checked = true;
    if (part("chkBsc"))
      part("chkBsc").checked = words[1] === "1";
  }

  function remember() {
    var name = part("username") ? part("username").value : "";
    if (checked("private"))
      setCookie("logondata", "acc=" + (checked("chkBsc") ? 1 : 0) + "&lgn=" +
          encodeURIComponent(name), "; Max-Age=" + TWO_WEEKS);
    else
      setCookie("logondata", "", "; Max-Age=0");
  }

  function focusFirst() {
    var user = part("username");
    var empty = user && !user.value ? user : part("password");
    if (empty && window.g_fFcs !== 0)
      empty.focus();
  }

  function reveal(on) {
    var show = part("show");
    if (!show || !part("password"))
      return;
    part("password").type = on ? "text" : "password";
    show.setAttribute("aria-pressed", on ? "true" : "false");
  }

  function ready() {
    var button = part("submit");
    sent = false;
    if (button && button.getAttribute("data-text")) {
      button.textContent = button.getAttribute("data-text");
      button.removeAttribute("aria-disabled");
    }
  }

  function busy() {
    var button = part("submit");
    sent = true;
    setTimeout(ready, BUSY_FOR);
    if (button && button.getAttribute("data-busy")) {
      button.setAttribute("data-text", button.textContent);
      button.textContent = button.getAttribute("data-busy");
      button.setAttribute("aria-disabled", "true");
    }
  }

  function submitting(event) {
    if (sent) {
      event.preventDefault();
      return;
    }
    reveal(false); /* or a password manager sees no password */
    if (form.elements.flags)
      form.elements.flags.value = (checked("chkBsc") ? 1 : 0) +
          (checked("private") ? 4 : 0);
    remember();
    setCookie("PBack", "0");
    busy();
  }

  if (!form)
    return;
  if (part("cookies") && !cookiesWork())
    part("cookies").hidden = false;
  remembered();
  if (part("show")) {
    part("show").hidden = false;
    part("show").addEventListener("click", function () {
      reveal(part("password").type === "password");
      part("password").focus();
    });
  }
  form.addEventListener("submit", submitting);
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) /* from the browser's memory, by its back button */
      ready();
  });
  focusFirst();
}());
