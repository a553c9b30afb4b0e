// The front page keeps itself up to date where neuroloom serves it: looked at every few seconds, taken over when it is new.
{
  const PERIOD_MS = 4000;
  let seen = null;

  const look = async () => {
    const head = await fetch(location.pathname, { method: "HEAD" });
    const now = head.headers.get("etag");
    const isRead = document.querySelector("#content").contains(document.activeElement); // not while somebody is in it
    if (seen && now !== seen && !document.hidden && !isRead) {
      const fresh = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
      for (const part of ["#lead", "#content"]) document.querySelector(part).replaceWith(fresh.querySelector(part));
      document.querySelectorAll("table.sortable").forEach(sortable);
    }
    if (!document.hidden && !isRead) seen = now;
  };

  if (location.protocol.startsWith("http")) {
    fetch("/api/hello").then((hello) => { if (hello.ok) setInterval(() => look().catch(() => {}), PERIOD_MS); }).catch(() => {});
  }
}
