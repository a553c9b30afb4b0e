// The viewer of a session: every stream on one time axis. It draws what the page holds, and where neuroloom serves the
// page asks for tiles of real samples of what it shows.
{
  const place = document.querySelector("#viewer"), given = document.querySelector("#recording-data");
  const TILE = 512, LEFT = 132, RIGHT = 78, AXIS = 22, STRIP = 26, CLIP = 1.7, SHORTEST_S = 1e-3, MOST_TILES = 400;

  const unpacked = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  class Viewer {
    constructor(data) {
      this.data = data;
      this.canvas = place.querySelector("canvas");
      this.ink = this.canvas.getContext("2d");
      this.view = [data.start, data.stop];
      this.gain = 1;
      this.hidden = new Set();
      this.tall = new Set();
      this.tiles = new Map();
      this.served = false;
      this.pointer = null;
      for (const track of data.tracks) {
        if (track.kind === "signal") {
          track.values = unpacked(track.data, Int8Array);
          track.own = { rows: track.rows, middles: track.middles };
        }
        if (track.kind === "units") track.values = unpacked(track.data, Uint8Array);
      }
      this.trials = data.tracks.find((track) => track.modality === "trials");
      this.colours();
      this.listTracks();
      this.listen();
      place.hidden = false;
      new ResizeObserver(() => this.layout()).observe(this.canvas.parentElement);
      this.layout();
      this.ask();
    }

    colours() {
      const style = getComputedStyle(document.documentElement);
      const of = (name) => style.getPropertyValue(name).trim();
      this.paint = { ink: of("--ink"), muted: of("--muted"), line: of("--line"), bad: of("--bad"), paper: of("--card"), accent: of("--accent"), tint: of("--tint") };
    }

    // -- where things lie ------------------------------------------------------------------------------------------

    heightOf(track) {
      const big = this.tall.has(track), n = track.rows?.length ?? 1;
      if (track.kind === "signal") return n <= 2 ? n * (big ? 110 : 44) : Math.min(n * (big ? 34 : 15), big ? 820 : 260);
      if (track.kind === "units") return Math.max(26, Math.min(n * (big ? 14 : 7), big ? 620 : 180));
      return big ? 60 : 24;
    }

    layout() {
      this.width = Math.max(320, this.canvas.parentElement.clientWidth);
      this.left = this.width < 640 ? 84 : LEFT;
      this.right = this.width < 640 ? 8 : RIGHT;
      let y = STRIP + AXIS;
      this.lanes = [];
      for (const track of this.data.tracks) {
        if (this.hidden.has(track)) continue;
        const height = this.heightOf(track);
        this.lanes.push({ track, y, height });
        y += height + 9;
      }
      this.height = y + 4;
      const scale = window.devicePixelRatio || 1;
      this.canvas.style.height = `${this.height}px`;
      this.canvas.width = Math.round(this.width * scale);
      this.canvas.height = Math.round(this.height * scale);
      this.ink.setTransform(scale, 0, 0, scale, 0, 0);
      this.draw();
    }

    x(t) { return this.left + (t - this.view[0]) / (this.view[1] - this.view[0]) * this.span(); }
    t(x) { return this.view[0] + (x - this.left) / this.span() * (this.view[1] - this.view[0]); }
    span() { return this.width - this.left - this.right; }
    whole() { return this.data.stop - this.data.start; }

    look(start, stop) {
      const length = Math.min(Math.max(stop - start, SHORTEST_S), this.whole());
      const from = Math.min(Math.max(start, this.data.start), this.data.stop - length);
      this.view = [from, from + length];
      this.draw();
    }
    zoom(factor, at = (this.view[0] + this.view[1]) / 2) {
      this.look(at - (at - this.view[0]) * factor, at + (this.view[1] - at) * factor);
    }
    move(part) {
      const by = part * (this.view[1] - this.view[0]);
      this.look(this.view[0] + by, this.view[1] + by);
    }
    toEvent(way) {
      const middle = (this.view[0] + this.view[1]) / 2, slack = 1e-4;
      const source = this.trials ?? this.data.tracks.find((track) => track.kind === "events");
      const times = (source?.times ?? []).map((row) => row[0]);
      const next = way > 0 ? times.find((t) => t > middle + slack) : times.findLast((t) => t < middle - slack);
      if (next === undefined) return;
      const half = (this.view[1] - this.view[0]) / 2;
      this.look(next - half, next + half);
    }

    // -- drawing ---------------------------------------------------------------------------------------------------

    draw() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => { this.waiting = null; this.paintAll(); });
    }

    paintAll() {
      const { ink } = this;
      ink.clearRect(0, 0, this.width, this.height);
      ink.font = "11px system-ui, sans-serif";
      ink.textBaseline = "middle";
      this.drawStrip();
      this.drawAxis();
      this.inside(() => this.drawTrials());
      for (const lane of this.lanes) {
        this.drawLabels(lane);
        this.inside(() => this[{ signal: "drawSignal", units: "drawUnits", events: "drawEvents", intervals: "drawIntervals" }[lane.track.kind]](lane));
        this.drawCertainty(lane);
      }
      this.drawPointer();
      this.say();
    }

    inside(work) {
      this.ink.save();
      this.ink.beginPath();
      this.ink.rect(this.left, STRIP, this.span(), this.height - STRIP);
      this.ink.clip();
      work();
      this.ink.restore();
    }

    drawStrip() {
      const { ink, paint } = this, whole = this.whole(), at = (t) => this.left + (t - this.data.start) / whole * this.span();
      ink.fillStyle = paint.tint;
      ink.fillRect(this.left, 2, this.span(), STRIP - 8);
      ink.fillStyle = paint.muted;
      ink.globalAlpha = 0.45;
      for (const [a, b] of this.trials?.times ?? []) ink.fillRect(at(a), 8, Math.max(at(b) - at(a), 0.6), STRIP - 20);
      ink.globalAlpha = 0.25;
      ink.fillStyle = paint.accent;
      const from = at(this.view[0]), to = at(this.view[1]);
      ink.fillRect(from, 2, Math.max(to - from, 3), STRIP - 8);
      ink.globalAlpha = 1;
      ink.strokeStyle = paint.accent;
      ink.strokeRect(from + 0.5, 2.5, Math.max(to - from, 3) - 1, STRIP - 9);
    }

    drawAxis() {
      const { ink, paint } = this, length = this.view[1] - this.view[0];
      const wanted = length / Math.max(2, this.span() / 110), power = 10 ** Math.floor(Math.log10(wanted));
      const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted);
      ink.lineWidth = 1;
      for (let n = Math.ceil(this.view[0] / step); n * step <= this.view[1]; n++) {
        const x = this.x(n * step);
        ink.strokeStyle = paint.line;
        ink.beginPath();
        ink.moveTo(x, STRIP + AXIS - 4);
        ink.lineTo(x, this.height);
        ink.stroke();
        ink.fillStyle = paint.muted;
        ink.textAlign = x > this.width - 20 ? "right" : "center";
        ink.fillText(this.clock(n * step, step), x, STRIP + AXIS / 2 - 2);
      }
    }

    clock(t, step) {
      const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
      if (this.whole() < 600 || step < 1) return `${(Object.is(t, -0) ? 0 : t).toFixed(digits).replace("-", "−")} s`;
      const whole = Math.round(Math.abs(t)), two = (n) => String(n).padStart(2, "0");
      const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
      return `${t < 0 ? "−" : ""}${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}`;
    }

    drawTrials() {
      if (!this.trials) return;
      this.ink.fillStyle = this.paint.muted;
      this.ink.globalAlpha = 0.07;
      for (const [a, b] of this.trials.times)
        if (b > this.view[0] && a < this.view[1]) this.ink.fillRect(this.x(a), STRIP + AXIS, Math.max(this.x(b) - this.x(a), 1), this.height);
      this.ink.globalAlpha = 1;
    }

    drawLabels({ track, y, height }) {
      const { ink, paint } = this;
      ink.textAlign = "right";
      const rows = track.rows ?? [], each = height / Math.max(rows.length, 1), named = rows.length > 1 && each >= 11;
      const x = this.left - 8, room = this.left - 14;
      if (!named) {
        ink.fillStyle = paint.ink;
        this.fit(track.label, x, y + height / 2 - (rows.length > 1 ? 6 : 0), room);
        const which = track.choice ? `${rows[0].name} … ${rows.at(-1).name}` : `${rows.length} ${track.kind === "units" ? "units" : "channels"}`;
        if (rows.length > 1) { ink.fillStyle = paint.muted; this.fit(which, x, y + height / 2 + 8, room); }
        return;
      }
      ink.save();
      ink.fillStyle = paint.ink;
      ink.font = "600 11px system-ui, sans-serif";
      ink.translate(10, y + height / 2);
      ink.rotate(-Math.PI / 2);
      ink.textAlign = "center";
      this.fit(track.label, 0, 0, height);
      ink.restore();
      ink.textAlign = "right";
      rows.forEach((row, i) => {
        ink.fillStyle = row.bad ? paint.bad : paint.muted;
        this.fit(row.bad ? `${row.name} ✕` : row.name, x, y + each * (i + 0.5), room - 16);
      });
    }

    fit(words, x, y, room) {
      let shown = words;
      while (shown.length > 2 && this.ink.measureText(shown).width > room) shown = `${shown.slice(0, -2).trimEnd()}…`;
      this.ink.fillText(shown, x, y);
    }

    drawSignal(lane) {
      const { track, y, height } = lane, { ink, paint } = this, each = height / track.rows.length;
      this.hatch(track, y, height);
      const parts = this.partsOf(track);
      ink.lineWidth = 1;
      ink.lineJoin = "bevel";
      const drawn = track.rows.map((row, i) => [row, i]).sort(([a], [b]) => b.bad - a.bad); // bad ones lie behind
      for (const [row, i] of drawn) {
        const middle = y + each * (i + 0.5), scale = each * this.gain;
        ink.strokeStyle = row.bad ? paint.bad : track.colour;
        ink.globalAlpha = row.bad ? 0.55 : 1;
        ink.beginPath();
        for (const part of parts) this.trace(part, i, middle, scale, row.bad ? each / 2 : each);
        ink.stroke();
      }
      ink.globalAlpha = 1;
    }

    trace({ values, columns, n, start, width, from, to }, row, middle, scale, each) {
      const { ink } = this, stride = 2 * n;
      const limit = CLIP * each, place = (value) => middle - Math.max(-limit, Math.min(limit, value * scale));
      let open = false;
      for (let k = from; k < to; k++) {
        const low = values[k * stride + row], high = values[k * stride + n + row];
        if (!(low === low)) { open = false; continue; }
        const x = this.x(start + (k + 0.5) * width);
        if (open) ink.lineTo(x, place(low)); else { ink.moveTo(x, place(low)); open = true; }
        if (high !== low) ink.lineTo(x, place(high)); else if (to - from === 1) ink.lineTo(x + 1, place(high));
      }
    }

    // What is drawn of a signal: runs of columns, each the finest there is for its stretch of time.
    partsOf(track) {
      const whole = this.whole(), parts = [];
      const zoom = Math.max(0, Math.ceil(Math.log2(whole * this.span() / (TILE * (this.view[1] - this.view[0])))));
      const isFine = whole / track.columns <= (this.view[1] - this.view[0]) / this.span() * 1.01;
      if (!this.served || (isFine && !track.choice)) return [this.overview(track, ...this.view)];
      const width = whole / 2 ** zoom;
      const first = Math.floor((this.view[0] - this.data.start) / width), last = Math.floor((this.view[1] - this.data.start - 1e-9) / width);
      for (let index = Math.max(first, 0); index <= Math.min(last, 2 ** zoom - 1); index++) {
        const from = this.data.start + index * width;
        const part = this.tile(track, zoom, index, from, from + width)
          ?? (track.choice ? null : this.overview(track, Math.max(from, this.view[0]), Math.min(from + width, this.view[1])));
        if (part) parts.push(part);
      }
      return parts;
    }

    overview(track, from, to) {
      if (!track.scaled) {
        track.scaled = Float32Array.from(track.values, (v) => (v === -128 ? NaN : v / this.data.steps));
      }
      const width = this.whole() / track.columns;
      return {
        values: track.scaled, n: track.rows.length, start: this.data.start, width,
        from: Math.max(0, Math.floor((from - this.data.start) / width)), to: Math.min(track.columns, Math.ceil((to - this.data.start) / width)),
      };
    }

    tile(track, zoom, index, from, to) {
      for (let up = 0; up <= Math.min(zoom, 6); up++) {
        const key = `${track.name}\n${track.choice ?? ""}\n${zoom - up}\n${index >> up}`, found = this.tiles.get(key);
        if (up === 0 && !found) this.fetchTile(track, zoom, index, key);
        if (!found || !found.values) continue;
        this.tiles.delete(key);
        this.tiles.set(key, found); // what was used last goes last
        const width = found.width / TILE, shown = [Math.max(from, this.view[0]), Math.min(to, this.view[1])];
        return { ...found, width, from: Math.max(0, Math.floor((shown[0] - found.start) / width) - 1), to: Math.min(TILE, Math.ceil((shown[1] - found.start) / width) + 1) };
      }
      return null;
    }

    async fetchTile(track, zoom, index, key) {
      this.tiles.set(key, {});
      if (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
      const { middles } = track, rows = track.rows.map((row) => row.at).join(",");
      const query = new URLSearchParams({ stream: track.name, zoom, index, rows });
      const answer = await fetch(`/api/sessions/${encodeURIComponent(this.data.session)}/${this.data.version}/tile?${query}`);
      if (answer.status === 503) { setTimeout(() => { this.tiles.delete(key); this.draw(); }, 3000); return; }
      if (!answer.ok) return;
      const values = new Float32Array(await answer.arrayBuffer()), n = track.rows.length;
      for (let row = 0; row < n; row++) middles[row] ??= this.middle(values, row, n);
      for (let i = 0; i < values.length; i++) values[i] = (values[i] - middles[i % n]) / track.step;
      const width = this.whole() / 2 ** zoom;
      this.tiles.set(key, { values, n, start: this.data.start + index * width, width });
      this.draw();
    }

    middle(values, row, n) {
      const found = [];
      for (let i = row; i < values.length; i += n) if (values[i] === values[i]) found.push(values[i]);
      return found.sort((a, b) => a - b)[found.length >> 1] ?? 0;
    }

    hatch(track, y, height) {
      const { ink, paint } = this, spans = track.spans;
      const edges = [[this.data.start, spans[0][0]], ...spans.slice(1).map(([a], i) => [spans[i][1], a]), [spans.at(-1)[1], this.data.stop]];
      const longest = 1.5 / track.rate;
      for (const [a, b] of edges) {
        if (b - a <= longest || b < this.view[0] || a > this.view[1]) continue;
        const from = Math.max(this.x(a), this.left), to = Math.min(this.x(b), this.width - this.right);
        ink.save();
        ink.beginPath();
        ink.rect(from, y, to - from, height);
        ink.clip();
        ink.strokeStyle = paint.muted;
        ink.globalAlpha = 0.4;
        ink.beginPath();
        for (let x = from - height; x < to; x += 7) { ink.moveTo(x, y + height); ink.lineTo(x + height, y); }
        ink.stroke();
        ink.restore();
      }
    }

    drawUnits({ track, y, height }) {
      const { ink, paint } = this, n = track.rows.length, each = height / n, spikes = this.spikesOf(track);
      const width = this.whole() / track.columns;
      track.rows.forEach((row, i) => {
        ink.fillStyle = row.bad ? paint.muted : track.colour;
        const top = y + each * i, tall = Math.max(each - 1.5, 1);
        if (spikes) {
          for (const t of spikes[i] ?? []) if (t >= this.view[0] && t <= this.view[1]) ink.fillRect(this.x(t) - 0.5, top, 1.2, tall);
          return;
        }
        const most = track.most ??= track.rows.map((_, r) => track.values.subarray(r * track.columns, (r + 1) * track.columns).reduce((a, b) => Math.max(a, b), 1));
        const from = Math.max(0, Math.floor((this.view[0] - this.data.start) / width)), to = Math.min(track.columns, Math.ceil((this.view[1] - this.data.start) / width));
        const wide = Math.max(width / (this.view[1] - this.view[0]) * this.span(), 1);
        for (let k = from; k < to; k++) {
          const count = track.values[i * track.columns + k];
          if (!count) continue;
          ink.globalAlpha = 0.25 + 0.75 * count / most[i];
          ink.fillRect(this.x(this.data.start + k * width), top, wide, tall);
        }
        ink.globalAlpha = 1;
      });
    }

    // The very spikes, where they are few enough to be seen one by one; the page itself holds counts.
    spikesOf(track) {
      const wide = this.whole() / track.columns / (this.view[1] - this.view[0]) * this.span();
      if (!this.served || wide < 1.5) return null;
      const have = track.spikes;
      if (have && have.from <= this.view[0] && have.to >= this.view[1]) return have.times;
      const length = this.view[1] - this.view[0], from = this.view[0] - length, to = this.view[1] + length;
      if (track.asked && track.asked[0] <= this.view[0] && track.asked[1] >= this.view[1]) return null;
      track.asked = [from, to];
      const query = new URLSearchParams({ stream: track.name, start: from, stop: to });
      fetch(`/api/sessions/${encodeURIComponent(this.data.session)}/${this.data.version}/spikes?${query}`)
        .then(async (answer) => { if (answer.ok) { track.spikes = { from, to, times: (await answer.json()).times }; this.draw(); } })
        .catch(() => {});
      return null;
    }

    drawEvents({ track, y, height }) {
      const { ink, paint } = this;
      ink.strokeStyle = track.colour;
      ink.lineWidth = 1.2;
      ink.beginPath();
      const seen = [];
      track.times.forEach(([t], i) => {
        if (t < this.view[0] || t > this.view[1]) return;
        const x = this.x(t);
        ink.moveTo(x, y);
        ink.lineTo(x, y + height);
        if (seen.length < 200) seen.push([x, track.labels[track.which[i]]]);
      });
      ink.stroke();
      ink.textAlign = "left";
      ink.fillStyle = paint.ink;
      let free = -1;
      if (seen.length < 120) for (const [x, words] of seen) {
        if (x < free || !words) continue;
        ink.fillText(words.slice(0, 28), x + 4, y + height / 2);
        free = x + 10 + ink.measureText(words.slice(0, 28)).width;
      }
    }

    drawIntervals({ track, y, height }) {
      const { ink, paint } = this;
      ink.textAlign = "left";
      track.times.forEach(([a, b], i) => {
        if (b < this.view[0] || a > this.view[1]) return;
        const from = Math.max(this.x(a), this.left - 2), to = Math.min(this.x(b), this.width), words = track.labels[track.which[i]] ?? "";
        ink.fillStyle = track.colour;
        ink.globalAlpha = 0.45;
        ink.fillRect(from, y + 2, Math.max(to - from, 1), height - 4);
        ink.globalAlpha = 1;
        if (to - from > 40 && words) { ink.fillStyle = paint.ink; this.fit(words, from + 4, y + height / 2, to - from - 8); }
      });
    }

    drawCertainty({ track, y, height }) {
      const { ink, paint } = this;
      if (this.right < 20) return;
      ink.textAlign = "left";
      ink.fillStyle = paint.muted;
      const known = track.sure_ms, at = ((this.view[0] + this.view[1]) / 2 - this.data.start) / this.whole();
      const ms = known.length ? known[Math.min(known.length - 1, Math.max(0, Math.round(at * (known.length - 1))))] : 0;
      ink.fillText(known.length ? `± ${ms.toFixed(2)} ms` : track.sure, this.width - this.right + 6, y + height / 2);
      const wide = 2 * ms / 1e3 / (this.view[1] - this.view[0]) * this.span();
      if (wide < 3 || wide > this.span() / 2) return;
      const x = this.width - this.right - wide - 8, line = y + 4;
      ink.strokeStyle = paint.ink;
      ink.lineWidth = 1.3;
      ink.beginPath();
      for (const [a, b] of [[x, line - 3], [x + wide, line - 3]]) { ink.moveTo(a, b); ink.lineTo(a, b + 6); }
      ink.moveTo(x, line);
      ink.lineTo(x + wide, line);
      ink.stroke();
    }

    drawPointer() {
      if (!this.pointer || this.pointer.x < this.left || this.pointer.x > this.width - this.right) return;
      const { ink, paint } = this;
      ink.strokeStyle = paint.muted;
      ink.globalAlpha = 0.6;
      ink.beginPath();
      ink.moveTo(this.pointer.x, STRIP);
      ink.lineTo(this.pointer.x, this.height);
      ink.stroke();
      ink.globalAlpha = 1;
    }

    // -- words -----------------------------------------------------------------------------------------------------

    say() {
      const length = this.view[1] - this.view[0], digits = Math.max(2, Math.min(6, 2 - Math.floor(Math.log10(length / 10))));
      const [from, to] = this.view.map((t) => t.toFixed(digits).replace("-", "−"));
      const words = `${from} to ${to} s${this.served ? "" : ", as the page holds it"}`;
      place.querySelector(".where").textContent = words + this.under();
      clearTimeout(this.telling);
      this.telling = setTimeout(() => { place.querySelector("[role=status]").textContent = `Showing ${words}`; }, 700);
    }

    under() {
      if (!this.pointer || this.pointer.x < this.left) return "";
      const t = this.t(this.pointer.x), lane = this.lanes.find(({ y, height }) => this.pointer.y >= y && this.pointer.y <= y + height);
      const said = ` · ${t.toFixed(4).replace("-", "−")} s`;
      if (lane?.track.kind !== "signal") return lane ? `${said} ${lane.track.label}` : said;
      const { track, y, height } = lane, row = Math.min(track.rows.length - 1, Math.floor((this.pointer.y - y) / height * track.rows.length));
      const part = this.partsOf(track).find((one) => t >= one.start && t < one.start + one.width * (one.values.length / 2 / one.n));
      const k = part ? Math.floor((t - part.start) / part.width) : -1, low = part?.values[k * 2 * part.n + row], high = part?.values[k * 2 * part.n + part.n + row];
      if (!Number.isFinite(low)) return `${said} ${track.label} ${track.rows[row].name}`;
      const value = (v) => (v * track.step + track.middles[row]).toPrecision(3).replace("-", "−");
      const values = Math.abs(high - low) < 1e-9 ? value(low) : `${value(low)} to ${value(high)}`;
      return `${said} ${track.label} ${track.rows[row].name}: ${values} ${track.unit}`;
    }

    // -- which channels --------------------------------------------------------------------------------------------

    // Others than the page holds, by their places in the signal; none for those it holds.
    choose(track, at) {
      const own = new Map(track.own.rows.map((row, i) => [row.at, track.own.middles[i]]));
      track.choice = at ? at.join(",") : undefined;
      track.rows = at ? at.map((i) => ({ at: i, name: track.channels[i][0], bad: Boolean(track.channels[i][1]) })) : track.own.rows;
      track.middles = at ? at.map((i) => own.get(i)) : track.own.middles;
      this.layout();
    }

    nextChannels(way) {
      for (const { select } of this.data.tracks) {
        if (!select) continue;
        select.selectedIndex = Math.min(select.length - 1, Math.max(0, select.selectedIndex + way));
        select.dispatchEvent(new Event("change"));
      }
    }

    listTracks() {
      const list = place.querySelector(".tracks");
      for (const track of this.data.tracks) {
        const label = document.createElement("label"), box = document.createElement("input");
        box.type = "checkbox";
        box.checked = true;
        box.addEventListener("change", () => { this.hidden[box.checked ? "delete" : "add"](track); this.layout(); });
        const more = track.kind === "signal" && track.n_channels > track.rows.length ? ` (${track.rows.length} of ${track.n_channels} channels)` : "";
        label.append(box, ` ${track.label}${more}`);
        list.append(label);
      }
    }

    // -- hands -----------------------------------------------------------------------------------------------------

    listen() {
      const { canvas } = this;
      const does = {
        back: () => this.move(-0.5), on: () => this.move(0.5), in: () => this.zoom(0.5), out: () => this.zoom(2),
        all: () => this.look(this.data.start, this.data.stop), others: () => this.nextChannels(1), former: () => this.nextChannels(-1), before: () => this.toEvent(-1), after: () => this.toEvent(1),
        louder: () => { this.gain *= 1.3; this.draw(); }, softer: () => { this.gain /= 1.3; this.draw(); },
      };
      const keys = { ArrowLeft: "back", ArrowRight: "on", "+": "in", "=": "in", "-": "out", 0: "all", Home: "all", p: "before", n: "after", "]": "louder", "[": "softer", c: "others", C: "former" };
      for (const button of place.querySelectorAll("[data-do]")) button.addEventListener("click", does[button.dataset.do]);
      canvas.addEventListener("keydown", (event) => {
        const name = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
        if (!name) return;
        event.preventDefault();
        does[name]();
      });
      canvas.addEventListener("wheel", (event) => {
        const zooms = event.ctrlKey || event.metaKey, moves = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
        if (!zooms && !moves) return;
        event.preventDefault();
        if (zooms) this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240))), this.t(event.offsetX));
        else this.move((event.deltaX || event.deltaY) / this.span());
      }, { passive: false });
      canvas.addEventListener("dblclick", (event) => { if (event.offsetX > this.left) this.zoom(0.25, this.t(event.offsetX)); });
      canvas.addEventListener("pointerdown", (event) => this.grab(event));
      canvas.addEventListener("pointermove", (event) => { this.pointer = { x: event.offsetX, y: event.offsetY }; this.drag?.(event); this.draw(); });
      canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.drag = null; });
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.colours(); this.draw(); });
    }

    grab(event) {
      const { offsetX, offsetY } = event, view = [...this.view];
      if (offsetX < this.left) {
        const lane = this.lanes.find(({ y, height }) => offsetY >= y && offsetY <= y + height);
        if (lane) { this.tall[this.tall.has(lane.track) ? "delete" : "add"](lane.track); this.layout(); }
        return;
      }
      this.canvas.setPointerCapture(event.pointerId);
      const strip = offsetY < STRIP, per = (strip ? this.whole() : view[1] - view[0]) / this.span();
      if (strip) {
        const middle = this.data.start + (offsetX - this.left) * per, half = (view[1] - view[0]) / 2;
        if (middle < view[0] || middle > view[1]) { view[0] = middle - half; view[1] = middle + half; this.look(...view); }
      }
      this.drag = (moved) => { const by = (moved.offsetX - offsetX) * (strip ? per : -per); this.look(view[0] + by, view[1] + by); };
    }

    async ask() {
      if (!location.protocol.startsWith("http") || !this.data.version) return;
      const hello = await fetch("/api/hello").catch(() => null);
      if (!hello?.ok || !(await hello.json()).neuroloom) return;
      this.served = true;
      const many = this.data.tracks.filter((track) => track.channels?.length);
      for (const track of many) place.querySelector(".choosers").append(channelChooser(track, (at) => this.choose(track, at)));
      for (const button of place.querySelectorAll("[data-do=others], [data-do=former]")) button.hidden = !many.length;
      this.draw();
    }
  }

  if (place && given) place.viewer = new Viewer(JSON.parse(given.textContent));
}
