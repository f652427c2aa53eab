// How reports look: one set of colours for light and one for dark, and paper is always light.
#pragma once

#include <string_view>

namespace xenopolis::experiment {

// Colours as variables, used by pages and by single pictures. Hues that colour-blind people can tell apart.
inline constexpr std::string_view kLightColours = R"(
  --page: #ffffff; --ink: #1b1e23; --soft: #5d646e; --faint: #e4e6e9; --panel: #f6f7f8;
  --fifo: #0b5cad; --2l: #b85400; --3l: #00755e; --own: #0b5cad; --peer: #7b3f98; --theirs: #6a717b; --bad: #a8261c;
  --store: #007884; --console: #a03a66; --polisd: #6d6400;)";
inline constexpr std::string_view kDarkColours = R"(
  --page: #14171b; --ink: #e8eaed; --soft: #a3abb5; --faint: #2d3239; --panel: #1c2026;
  --fifo: #6cb0f5; --2l: #f0a058; --3l: #4fcfae; --own: #6cb0f5; --peer: #cf9be6; --theirs: #959da8; --bad: #f08a80;
  --store: #4cc3cf; --console: #ee8db5; --polisd: #cfc250;)";

inline constexpr std::string_view kChartStyle = R"(
  svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; fill: var(--ink);
             font-variant-numeric: tabular-nums; }
  svg .tick, svg .note { fill: var(--soft); }
  svg .axis-title { fill: var(--soft); }
  svg .heading { font-size: 19px; font-weight: 600; }
  svg .subheading { font-size: 13px; fill: var(--soft); }
  .grid { stroke: var(--faint); fill: none; }
  .axis { stroke: var(--soft); fill: none; }
  .line { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
  .leader { fill: none; stroke: var(--soft); stroke-width: 0.75; }
  .band { stroke: none; fill-opacity: 0.16; }
  .diamond { fill: var(--page); stroke-width: 1.6; }
  .dot { stroke: var(--page); stroke-width: 1; }
  .label { font-weight: 600; }
  .line.fifo { stroke: var(--fifo); } .dot.fifo, .band.fifo, svg text.fifo { fill: var(--fifo); }
  .line.abi-2l { stroke: var(--2l); } .dot.abi-2l, .band.abi-2l, svg text.abi-2l { fill: var(--2l); }
  .line.abi-3l { stroke: var(--3l); } .dot.abi-3l, .band.abi-3l, svg text.abi-3l { fill: var(--3l); }
  .line.own { stroke: var(--own); } .dot.own, svg text.own { fill: var(--own); }
  .line.peer { stroke: var(--peer); } .dot.peer, svg text.peer { fill: var(--peer); }
  .line.theirs, .diamond.theirs { stroke: var(--theirs); } svg text.theirs { fill: var(--theirs); font-weight: 400; }
  .line.theirs { stroke-dasharray: 2 5; stroke-width: 1.5; }
  .line.guide { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 5 4; } svg text.guide { fill: var(--soft); font-weight: 400; }
  .line.cells { stroke: var(--soft); } .dot.cells, svg text.cells { fill: var(--soft); }
  .line.store { stroke: var(--store); } .dot.store, svg text.store { fill: var(--store); }
  .line.console { stroke: var(--console); } .dot.console, svg text.console { fill: var(--console); }
  .line.polisd { stroke: var(--polisd); } .dot.polisd, svg text.polisd { fill: var(--polisd); }
  .halo { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
  .line.wall { stroke-width: 1.25; stroke-dasharray: 1 4; } .dot.early { fill-opacity: 0.55; }
  .line.thin { stroke-width: 1.25; } .line.pale { stroke-opacity: 0.55; }
)";

inline constexpr std::string_view kPageStyle = R"(
  * { box-sizing: border-box; }
  html { background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100%; }
  body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; margin: 0 auto;
         max-width: 900px; padding: 48px 24px 64px; font-variant-numeric: tabular-nums; }
  h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.015em; margin: 0 0 12px; font-weight: 650; }
  h2 { font-size: 21px; line-height: 1.3; margin: 0 0 6px; font-weight: 650; letter-spacing: -0.005em; }
  p { margin: 0 0 12px; max-width: 70ch; }
  a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 2px; overflow-wrap: anywhere; }
  code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
  .kicker { color: var(--soft); font-size: 14px; margin-bottom: 8px; }
  .lead { font-size: 18px; color: var(--soft); }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 20px 28px; margin: 32px 0; padding: 0; }
  .figures div { border-top: 2px solid var(--ink); padding-top: 10px; }
  .figures dt { font-size: 14px; line-height: 1.35; color: var(--soft); }
  .figures dd { margin: 0 0 2px; font-size: 27px; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; }
  .machine { background: var(--panel); padding: 14px 18px; font-size: 14.5px; margin: 0 0 8px; }
  .machine dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0; }
  .machine dt { color: var(--soft); } .machine dd { margin: 0; overflow-wrap: anywhere; }
  .warning { border-left: 3px solid var(--bad); padding: 2px 0 2px 14px; margin: 20px 0; }
  section { margin-top: 56px; }
  figure { margin: 18px 0 0; }
  figcaption { font-size: 14px; line-height: 1.5; color: var(--soft); max-width: 78ch; margin-top: 6px; }
  svg.wide { display: block; width: 100%; height: auto; } svg.narrow { display: none; width: 100%; height: auto; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-size: 14px; line-height: 1.4; margin-top: 14px; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--faint); }
  thead th { font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--soft); vertical-align: bottom; }
  th.n, td.n { text-align: right; padding-left: 8px; } td.n { white-space: nowrap; } tbody th { font-weight: 600; white-space: nowrap; }
  td:last-child, th:last-child { padding-right: 0; }
  table.compact { font-size: 12.5px; } table.compact th, table.compact td { padding-right: 4px; }
  .theirs-mark { color: var(--theirs); } .key { white-space: nowrap; margin-right: 18px; }
  .legend { font-size: 14px; color: var(--soft); margin: 0 0 4px; max-width: none; }
  .legend svg { display: inline-block; vertical-align: -2px; margin-right: 5px; }
  ul { padding-left: 20px; margin: 8px 0; } li { max-width: 76ch; margin-bottom: 5px; }
  footer { margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--faint); font-size: 13.5px; color: var(--soft); }
  @media (max-width: 640px) {
    body { padding: 28px 16px 40px; } h1 { font-size: 27px; } section { margin-top: 44px; }
    svg.wide { display: none; } svg.narrow { display: block; } .scroll table { min-width: 620px; }
    .machine dl { grid-template-columns: 1fr; } .machine dd { margin-bottom: 6px; }
  }
  @page { size: A4; margin: 16mm 15mm; }
  @media print {
    body { max-width: none; padding: 0; font-size: 10.5pt; } h1 { font-size: 22pt; } h2 { font-size: 14pt; break-after: avoid; }
    .lead { font-size: 12pt; } .figures { grid-template-columns: repeat(4, 1fr); gap: 12px 18px; margin: 18px 0; }
    .figures dd { font-size: 17pt; } section { margin-top: 26px; }
    svg.wide { display: block; max-height: 96mm; } svg.narrow { display: none; }
    figure, tr, .machine, .figures { break-inside: avoid; } section.chart { break-inside: avoid; }
    .scroll { overflow: visible; } table { font-size: 8.5pt; } figcaption, .legend { font-size: 9pt; }
    .machine { border: 1px solid var(--faint); font-size: 9.5pt; }
    a { text-decoration: none; }
  }
)";

}  // namespace xenopolis::experiment
