// The front page keeps itself up to date where neuroloom serves it: looked at every few seconds, taken over when it is new.
{
  const PERIOD_MS = 2000;
  let seen = null;

  // What somebody unfolded, searched for or sorted by: [table, what to do to the new one].
  const kept = () => [...document.querySelectorAll("#content .tabled")].map((old) => {
    const sorted = old.querySelector("th[aria-sort]");
    return [old.querySelector(".table").ariaLabel, (tabled) => {
      for (const name of [".all", ".find input"]) {
        const [was, is] = [old.querySelector(name), tabled.querySelector(name)];
        if (was && is) { is.checked = was.checked; is.value = was.value; is.dispatchEvent(new Event("input")); }
      }
      const heading = sorted && tabled.querySelectorAll("thead th")[sorted.cellIndex].querySelector("button");
      heading?.click();
      if (sorted?.ariaSort === "descending") heading.click();
    }];
  });

  const look = async () => {
    const head = await fetch(location.pathname, { method: "HEAD" });
    const now = head.headers.get("etag");
    const isRead = document.querySelector("#content").contains(document.activeElement); // not while somebody is in it
    if (seen && now !== seen && !document.hidden && !isRead) {
      const fresh = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html"), was = new Map(kept());
      for (const part of ["#lead", "#content"]) document.querySelector(part).replaceWith(fresh.querySelector(part));
      dispatchEvent(new Event("renewed"));
      for (const tabled of document.querySelectorAll("#content .tabled")) was.get(tabled.querySelector(".table").ariaLabel)?.(tabled);
    }
    if (!document.hidden && !isRead) seen = now;
  };

  if (location.protocol.startsWith("http")) {
    fetch("/api/hello").then((hello) => { if (hello.ok) setInterval(() => look().catch(() => {}), PERIOD_MS); }).catch(() => {});
  }
}
