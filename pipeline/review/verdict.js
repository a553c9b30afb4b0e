// The form for a verdict: shown where neuroloom serves the page, hidden where the page is a file.
{
  const form = document.querySelector("form#verdict");
  const KEY = "neuroloom-token", NAME = "neuroloom-reviewer";
  const told = form?.querySelector(".told");

  const takeToken = () => {
    const found = /[#&]token=([\w-]+)/.exec(location.hash);
    if (!found) return;
    localStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", location.pathname + location.search);
  };

  const grid = (stream, names, marked, found) => {
    const set = document.createElement("fieldset");
    set.append(Object.assign(document.createElement("legend"), { textContent: stream }));
    for (const name of names) {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: marked.includes(name) });
      box.dataset.found = found.includes(name) ? "yes" : "";
      box.dataset.stream = stream;
      box.dataset.channel = name;
      label.append(box, ` ${name}${found.includes(name) ? " •" : ""}`);
      set.append(label);
    }
    return set;
  };

  const fillChannels = () => {
    const listed = document.querySelector("#channels");
    if (!listed) return;
    const { streams, found } = JSON.parse(listed.textContent);
    const reviewed = JSON.parse(document.querySelector("#reviewed").textContent);
    const place = form.querySelector(".grids");
    const count = () => { form.querySelector(".channels .n").textContent = place.querySelectorAll(":checked").length; };
    for (const [stream, names] of Object.entries(streams)) {
      const called = found[stream] ?? [], good = reviewed.good[stream] ?? [];
      const marked = [...(reviewed.bad[stream] ?? []), ...called.filter((one) => !good.includes(one))];
      place.append(grid(stream, names, marked, called));
    }
    place.addEventListener("change", count);
    count();
    form.querySelector(".find").addEventListener("input", (event) => {
      const wanted = event.target.value.trim().toLowerCase();
      for (const label of place.querySelectorAll("label")) {
        const box = label.querySelector("input");
        label.hidden = !`${box.dataset.stream}:${box.dataset.channel}`.toLowerCase().includes(wanted);
      }
    });
  };

  const boxes = (wanted) => {
    const chosen = {};
    for (const box of form.querySelectorAll(".grids input"))
      if (wanted(box)) (chosen[box.dataset.stream] ??= []).push(box.dataset.channel);
    return chosen;
  };

  const send = async () => {
    const { kind, name } = form.dataset, said = new FormData(form);
    if (said.get("token")) localStorage.setItem(KEY, said.get("token").trim());
    localStorage.setItem(NAME, said.get("by"));
    const body = { verdict: said.get("verdict"), by: said.get("by"), note: said.get("note") };
    if (form.querySelector(".grids")) { // what is found is masked by itself; only where that is wrong a word is needed
      body.bad_channels = boxes((box) => box.checked && !box.dataset.found);
      body.good_channels = boxes((box) => !box.checked && box.dataset.found);
    }
    const answer = await fetch(`/api/${kind}/${encodeURIComponent(name)}/verdicts`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Neuroloom-Token": localStorage.getItem(KEY) ?? "" },
      body: JSON.stringify(body),
    });
    if (answer.ok) { location.hash = "#review"; location.reload(); return; }
    if (answer.status === 401) form.querySelector(".token").hidden = false;
    told.textContent = (await answer.json()).error;
  };

  const start = async () => {
    takeToken();
    const hello = await fetch("/api/hello");
    if (!hello.ok || !(await hello.json()).writes) return;
    form.querySelector("[name=by]").value = localStorage.getItem(NAME) ?? "";
    form.querySelector(".token").hidden = Boolean(localStorage.getItem(KEY));
    fillChannels();
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send().catch((error) => { told.textContent = `Not saved: ${error.message}`; });
    });
  };

  if (location.protocol.startsWith("http")) {
    takeToken();
    if (form) start().catch(() => {}); // no neuroloom behind this address: the page is read as it is
  }
}
