# For the smoke tests, which source this: a benchmark runs through, and writes each figure and each plot. They look at no
# time. Without gnuplot all but the plots is tried, and the test counts as skipped.
# shellcheck shell=bash
set -euo pipefail
program=$1
missing=0
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
has_gnuplot=0
if command -v gnuplot >/dev/null; then
  has_gnuplot=1
fi

run_program() {
  local plots=()
  if [[ $has_gnuplot -eq 1 ]]; then
    plots=(--plots "$directory/plots")
  fi
  "$program" --json "$directory/figures.json" "${plots[@]}" "$@" >"$directory/table"
}

miss() {
  echo "$1"
  missing=1
}
expect_keys() {
  local key
  for key in "$@"; do
    grep -q "\"$key\":" "$directory/figures.json" || miss "not in the JSON file: $key"
  done
}
# Each begins a line.
expect_in_table() {
  local text
  for text in "$@"; do
    grep -q "^$text" "$directory/table" || miss "not in the table: $text"
  done
}
expect_plots() {
  local plot
  for plot in "$@"; do
    [[ $has_gnuplot -eq 0 || -s $directory/plots/$plot.svg ]] || miss "not drawn: $plot"
  done
}

finish() {
  # What was written can be shown again.
  "$program" --from "$directory/figures.json" | cmp - "$directory/table"
  if [[ $missing -eq 0 && $has_gnuplot -eq 0 ]]; then
    echo "skipped: the plots need gnuplot (Debian: gnuplot-nox); all else went well"
    exit 77
  fi
  exit $missing
}
