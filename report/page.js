(function () {
  "use strict";
  var root = document.documentElement;
  try {
    var rows = JSON.parse(document.getElementById("curve-data").textContent);
    var slider = document.getElementById("slider");
    var range = document.getElementById("alpha-range");
    var out = document.getElementById("alpha-value");
    var cells = document.querySelectorAll("[data-cell]");
    var charts = document.querySelectorAll("svg[data-points]");
    var start = Number(range.getAttribute("value"));

    function show(i) {
      var row = rows[i];
      out.textContent = row.alpha;
      range.setAttribute("aria-valuetext", "alpha " + row.alpha + ": " + row.says);
      cells.forEach(function (cell, k) { cell.textContent = row.cells[k]; });
      charts.forEach(function (chart) {
        var p = chart.getAttribute("data-points").split(" ")[i].split(",");
        var pick = chart.querySelector(".pick, .pick-line");
        if (pick.tagName === "circle") {
          pick.setAttribute("cx", p[0]);
          pick.setAttribute("cy", p[1]);
        } else {
          pick.setAttribute("x1", p[0]);
          pick.setAttribute("x2", p[0]);
        }
      });
      root.setAttribute("data-alpha", row.alpha);
    }

    range.addEventListener("input", function () { show(Number(range.value)); });
    document.getElementById("alpha-reset").addEventListener("click", function () {
      range.value = start;
      show(start);
    });
    var first = start;
    var wanted = /^#alpha=([0-9.]+)$/.exec(window.location.hash);
    if (wanted) {
      rows.forEach(function (row, i) { if (Number(row.alpha) === Number(wanted[1])) { first = i; } });
    }
    slider.hidden = false;
    range.value = first;
    show(first);
    root.setAttribute("data-slider", "ready");
  } catch (err) {
    root.setAttribute("data-slider-error", String(err));
  }
})();
