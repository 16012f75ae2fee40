// Uses each control of a page as a reader does; returns what does not follow from it.
function usePage({ rows, word, matches, more, columns, exponents }) {
  const faults = [];
  const check = (what, holds) => { if (!holds) faults.push(what); };
  const one = (selector) => document.querySelector(selector);
  const lines = (rest = "") => [...document.querySelectorAll(`section:first-of-type tr[data-row]${rest}`)];
  const visible = () => lines(":not([hidden])").length;
  const type = (text) => {
    one("input").value = text;
    one("input").dispatchEvent(new Event("input"));
  };
  const pick = (value) => {
    one("select.more").value = value;
    one("select.more").dispatchEvent(new Event("change"));
  };
  const key = (target, name) =>
    target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  const data = JSON.parse(one("script[type='application/json']").textContent);
  const chosen = () => one(".detail h3").textContent;
  const panels = () => document.querySelectorAll("section:first-of-type svg.profile > g").length;
  const head = (name) => [...document.querySelectorAll("section:first-of-type thead th")]
    .findIndex((th) => th.textContent === name);

  check("no name became a script", window.hacked === undefined);
  check("the verdict is there", one(".verdict").textContent.startsWith("Verdict: "));
  check("all rows are there", visible() === rows);

  type(word);
  check(`${matches} rows match ${word}`, visible() === matches);
  type("");
  check("an empty filter shows all rows", visible() === rows);

  one("button.problems").click();
  check("only findings are fewer rows", visible() > 0 && visible() < rows);
  one("button.problems").click();
  check("all rows are back", visible() === rows);

  one("button.fold").click();
  check("folding hides all rows", visible() === 0 && one("tr.group") !== null);
  one("tr.group button").click();
  check("opening a module shows its rows", visible() > 0 && visible() < rows);
  one("button.fold").click();
  check("unfolding shows all rows", visible() === rows && one("tr.group") === null);

  for (const name of columns) {
    const column = head(name);
    check(`there is a column ${name}`, column >= 0);
    for (const sign of [1, -1]) {
      document.querySelectorAll("section:first-of-type thead th")[column].querySelector("button").click();
      const values = lines().map((line) => line.cells[column].dataset.value).filter((v) => v !== "").map(Number);
      check(`${name} has numbers`, values.length > 0 && !values.some(Number.isNaN));
      check(`${name} sorts ${sign}`, values.every((v, i) => !i || sign * (v - values[i - 1]) >= 0));
    }
  }

  const svg = one("svg.profile");
  key(svg, "Home");
  check("Home goes to the first row", chosen() === data.rows[0].name);
  key(svg, "ArrowRight");
  check("an arrow goes on", chosen() === data.rows[1].name);
  key(svg, "End");
  check("End goes to the last row", chosen() === data.rows[rows - 1].name);
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left }));
  check("the pointer chooses", chosen() === data.rows[0].name);
  const [line, next] = lines();
  line.focus();
  check("a row that has the focus is chosen", chosen() === data.rows[line.dataset.row].name);
  key(line, "ArrowDown");
  check("an arrow goes to the row below", chosen() === data.rows[next.dataset.row].name);
  next.dispatchEvent(new PointerEvent("pointerenter"));
  check("distributions are told", one(".detail").textContent.includes("over seeds"));
  key(svg, "Home");
  check("a histogram has a bar for each bin", !exponents
    || document.querySelectorAll(".detail svg.exponents rect").length === exponents);

  const before = panels();
  const names = [...document.querySelectorAll("section:first-of-type select.more option")].map((o) => o.textContent);
  for (const name of more) {
    check(`${name} can be picked`, names.includes(name));
    pick(String(names.indexOf(name) - 1));
    check(`${name} is drawn`, panels() === before + 1
      && one("svg.profile > g:last-child .title").textContent === name
      && one("svg.profile > g:last-child polyline.median, svg.profile > g:last-child .dot") !== null);
    check(`${name} fits its axes`, !svg.outerHTML.includes("NaN"));
  }
  pick("");
  check("nothing more is drawn", panels() === before);
  return faults;
}
