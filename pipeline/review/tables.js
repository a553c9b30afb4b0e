// Tables are sorted by a click or by Enter on a heading, long ones searched. Without this script they are read as they stand.
{
  const sortable = (table) => {
    const body = table.tBodies[0];
    table.querySelectorAll("thead th").forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const falling = heading.getAttribute("aria-sort") === "ascending";
        for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
        const rows = [...body.rows].sort((a, b) => key(a).localeCompare(key(b), undefined, { numeric: true }));
        body.append(...(falling ? rows.reverse() : rows));
      });
    });
  };

  const searchable = (label) => {
    const tabled = label.closest(".tabled"), rows = [...tabled.querySelectorAll("tbody tr")], input = label.querySelector("input");
    label.hidden = false;
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      tabled.classList.toggle("searched", Boolean(wanted));
      tabled.querySelector("[role=status]").textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
    });
  };

  const alive = () => {
    document.querySelectorAll("table.sortable").forEach(sortable);
    document.querySelectorAll(".tabled .find").forEach(searchable);
  };
  addEventListener("renewed", alive);
  alive();
}
