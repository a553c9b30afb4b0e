// A run's curves while it trains: asked for every two seconds where neuroloom serves the page.
{
  const place = document.querySelector("#live");
  const PERIOD_MS = 2000, HEIGHT = 280, LEFT = 56, RIGHT = 28, BOTTOM = 28, MOST_POINTS = 600;
  const made = (name, attributes = {}, words = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (words) element.textContent = words;
    return element;
  };
  const curves = { training: [], validation: [] };
  let after = 0, drawn = null;

  const thinned = (rows) => {
    const each = Math.ceil(rows.length / MOST_POINTS);
    if (each <= 1) return rows;
    const found = [];
    for (let i = 0; i < rows.length; i += each) {
      const some = rows.slice(i, i + each), mean = (at) => some.reduce((sum, row) => sum + row[at], 0) / some.length;
      found.push([mean(0), mean(1)]);
    }
    return found;
  };

  const nice = (low, high, n) => {
    const wanted = (high - low) / n || 1, power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= wanted);
    const ticks = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.push(k * step);
    return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step))) };
  };

  const draw = (steps) => {
    const rows = [...curves.training, ...curves.validation];
    if (!rows.length) return;
    const chart = place.querySelector(".chart"), width = Math.max(chart.clientWidth, 240); // one unit is one pixel: text stays readable
    const sorted = rows.map((row) => row[1]).sort((a, b) => a - b);
    const low = sorted[0], high = Math.max(sorted[Math.floor(sorted.length * 0.995)], low + 1e-6);
    const most = Math.max(steps, ...rows.slice(-1).map((row) => row[0]), 1);
    const x = (step) => LEFT + step / most * (width - LEFT - RIGHT), y = (loss) => 10 + (high - Math.min(loss, high)) / (high - low) * (HEIGHT - BOTTOM - 16);
    const drawing = made("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `Loss so far: training ${curves.training.at(-1)?.[1].toPrecision(4) ?? "none"}, validation ${curves.validation.at(-1)?.[1].toPrecision(4) ?? "none yet"}` });
    const across = nice(0, most, width / 120), up = nice(low, high, 5);
    for (const tick of up.ticks) {
      drawing.append(made("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }));
      drawing.append(made("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(up.digits)));
    }
    for (const tick of across.ticks) drawing.append(made("text", { x: x(tick), y: HEIGHT - 8, "text-anchor": "middle" }, tick.toFixed(across.digits)));
    const line = (rows) => rows.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
    drawing.append(made("polyline", { points: line(thinned(curves.training)), class: "training" }));
    drawing.append(made("polyline", { points: line(curves.validation), class: "validation" }));
    for (const [step, loss] of curves.validation) drawing.append(made("circle", { cx: x(step), cy: y(loss), r: 3.5, class: "validation-dot" }));
    chart.replaceChildren(drawing);
  };

  const look = async () => {
    const answer = await fetch(`/api/runs/${encodeURIComponent(place.dataset.name)}/live?after=${after}`);
    if (!answer.ok) return;
    const now = await answer.json();
    if (!now.is_running) {
      const head = await fetch(location.pathname, { method: "HEAD" }); // drawn anew once it has ended, and once scored
      if (drawn && drawn !== head.headers.get("etag") && !document.querySelector("#verdict")?.contains(document.activeElement)) location.reload();
      drawn ??= head.headers.get("etag");
      return;
    }
    place.hidden = false;
    for (const still of document.querySelectorAll("#still, #missing")) still.hidden = true;
    curves.training.push(...now.training);
    curves.validation.push(...now.validation);
    after = now.step;
    place.querySelector("progress").max = now.steps || now.step || 1;
    place.querySelector("progress").value = now.step;
    place.querySelector(".steps").textContent = `step ${now.step}${now.steps ? ` of ${now.steps}` : ""}`;
    draw(now.steps);
  };

  if (place && location.protocol.startsWith("http")) {
    fetch("/api/hello").then((hello) => {
      if (!hello.ok) return;
      const again = () => { look().catch(() => {}); };
      again();
      setInterval(again, PERIOD_MS);
    }).catch(() => {});
  }
}
