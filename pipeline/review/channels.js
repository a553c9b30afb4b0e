// Which of a signal's many channels are looked at: a form, made for the viewer of a session.

// Whether a name is what was written; * stands for anything.
const isNamed = (name, wanted) => {
  const parts = wanted.toLowerCase().split("*"), last = parts.pop();
  let rest = name.toLowerCase();
  if (!parts.length) return rest === last;
  if (!rest.startsWith(parts[0])) return false;
  for (const part of parts) {
    const at = rest.indexOf(part);
    if (at < 0) return false;
    rest = rest.slice(at + part.length);
  }
  return rest.endsWith(last);
};

// All channels by groups in their order, the bad ones, or those whose name is written down; * stands for anything.
const channelChooser = (track, choose) => {
  const n = track.own.rows.length, all = track.channels.map((_, i) => i), groups = [["Spread over all", null]];
  for (let i = 0; i < all.length; i += n) {
    const some = all.slice(i, i + n);
    groups.push([`${i + 1} to ${i + some.length}: ${track.channels[some[0]][0]} … ${track.channels[some.at(-1)][0]}`, some]);
  }
  const bad = all.filter((i) => track.channels[i][1]);
  if (bad.length) groups.push([`Bad ones (${bad.length})`, bad.slice(0, n)]);
  const set = document.createElement("fieldset"), legend = document.createElement("legend");
  const select = document.createElement("select"), find = document.createElement("input"), told = document.createElement("span");
  legend.textContent = `${track.label}: ${n} of ${track.n_channels} channels at a time`;
  for (const [words] of groups) select.append(new Option(words));
  select.addEventListener("change", () => { find.value = told.textContent = ""; choose(groups[select.selectedIndex][1]); });
  find.type = "search";
  find.autocomplete = "off";
  find.addEventListener("change", () => {
    const wanted = find.value.split(",").map((part) => part.trim()).filter(Boolean);
    const found = all.filter((i) => wanted.some((part) => isNamed(track.channels[i][0], part)));
    told.textContent = wanted.length ? `${found.length || "no"} channel${found.length === 1 ? "" : "s"} of that name${found.length > n ? `, the first ${n} are shown` : ""}` : "";
    if (found.length) choose(found.slice(0, n));
    else if (!wanted.length) choose(groups[select.selectedIndex][1]);
  });
  told.setAttribute("role", "status");
  told.className = "quiet";
  const labelled = (words, control) => { const label = document.createElement("label"); label.append(`${words} `, control); return label; };
  set.append(legend, labelled("Show", select), labelled("or names, with commas; * stands for anything", find), told);
  track.select = select;
  return set;
};
