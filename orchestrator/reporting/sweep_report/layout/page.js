(() => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const views = [];
  const options = { actions: false, renderer: "svg", ast: true, tooltip: { theme: "custom" } };
  const draw = async () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      try {
        const drawn = await vegaEmbed(place, specs[place.dataset.chart], options);
        views.push(drawn.view);
      } catch (error) {
        place.textContent = `This chart could not be drawn: ${error.message}`;
      }
    }
    document.documentElement.dataset.drawn = String(views.length);
  };
  let picked = null;
  const pick = (group) => {
    picked = picked === group ? null : group;
    document.querySelectorAll("[data-group]").forEach((each) => {
      each.setAttribute("aria-pressed", String(each.dataset.group === picked));
    });
    views.forEach((view) => {
      // Only charts that are coloured by method know the signal.
      if (Object.hasOwn(view.getState({ signals: () => true }).signals, "picked")) view.signal("picked", picked).runAsync();
    });
  };
  document.querySelectorAll("[data-group]").forEach((each) => each.addEventListener("click", () => pick(each.dataset.group)));
  const copied = async (button) => {
    const text = button.parentElement.querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page opened from a file, or in a frame, may not have the clipboard; a selection can still be copied.
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("pre"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", () => copied(button)));
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
  draw();
})();
