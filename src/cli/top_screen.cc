#include "cli/top_screen.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

// Last: it defines macros with everyday names.
#define NCURSES_NOMACROS
#include <curses.h>

#include "base/clock.h"
#include "cli/terminal.h"
#include "cli/times.h"

namespace xenopolis::cli {
namespace {

constexpr int kCtrlC = 3;
constexpr int kCtrlL = 12;
constexpr int kCtrlZ = 26;
constexpr int kEscape = 27;
constexpr int kHeadLines = 3;  // summary, what is searched for and in which order, columns

struct SortKey {
  int key;
  TopOrder order;
};
constexpr SortKey kSortKeys[] = {{'C', TopOrder::kCpu},    {'T', TopOrder::kTime},       {'M', TopOrder::kMemory},
                                 {'E', TopOrder::kExits},  {'H', TopOrder::kHypercalls}, {'U', TopOrder::kUpcalls},
                                 {'A', TopOrder::kUptime}, {'N', TopOrder::kName},       {'D', TopOrder::kDomid}};

constexpr const char* kHelp[] = {
    "q            leave",
    "up down PgUp PgDn Home End, j k   look at other rows",
    "/            search: names that contain a text, or a domid; Escape: all again",
    "C T M        sort by CPU, time, memory",
    "E H U        sort by exits, hypercalls, upcalls per second",
    "A N D        sort by age, name, domid",
    "R            the other way round",
    "+ -          sample more often, less often",
    "space        sample now",
    "",
    "Any key goes back.",
};

class Screen {
 public:
  Screen(const std::string& host, TopView view, const std::function<std::vector<TopRow>()>& sample,
         const std::function<bool()>& is_over, Signals signals)
      : host_(host), view_(std::move(view)), sample_(sample), is_over_(is_over), signals_(std::move(signals)) {}

  Status run();

 private:
  void wait();
  void suspend();
  void take_sample();
  void arrange();
  void draw();
  void draw_help();
  void print(int line, const std::string& text, attr_t attributes = A_NORMAL);
  void handle(int key);
  void handle_search(int key);
  std::optional<int64_t> first_after(int key) const;
  bool change_rows(int key);
  void handle_command(int key);
  int page() const { return std::max(1, LINES - kHeadLines); }
  void scroll_to(int64_t first);

  const std::string host_;
  TopView view_;
  const std::function<std::vector<TopRow>()>& sample_;
  const std::function<bool()>& is_over_;
  Signals signals_;
  const MonotonicClock clock_;
  std::vector<TopRow> all_;
  std::vector<TopRow> shown_;
  size_t first_ = 0;
  uint64_t next_sample_ns_ = 0;
  bool is_typing_ = false;
  bool shows_help_ = false;
  bool leaves_ = false;
  int ended_by_ = 0;  // a signal
};

Status Screen::run() {
  // Unlike initscr() it returns.
  SCREEN* screen = newterm(nullptr, stdout, stdin);
  const bool moves_cursor = screen != nullptr && tigetstr("cup") != nullptr;
  if (!moves_cursor) {
    if (screen != nullptr) endwin();
    const char* type = getenv("TERM");
    return fail(0,
                fmt::format("the terminal's type, TERM={}, {} (-b prints what there is)", type == nullptr ? "" : type,
                            screen == nullptr ? "is not known" : "cannot move its cursor"));
  }
  raw();  // Ctrl-C and Ctrl-Z are keys: so the terminal is itself again afterwards
  noecho();
  keypad(stdscr, TRUE);
  set_escdelay(50);
  curs_set(0);
  wtimeout(stdscr, 0);
  while (!leaves_ && !is_over_()) {
    if (clock_.now_ns() >= next_sample_ns_) take_sample();
    draw();
    wait();
    for (int key; !leaves_ && (key = wgetch(stdscr)) != ERR;) handle(key);
    if (isatty(STDIN_FILENO) == 0) break;  // the terminal has gone
  }
  endwin();
  delscreen(screen);
  if (ended_by_ != 0) die_of(ended_by_);
  return {};
}

// For a key, a signal (a new size, too, which curses is told of), or the next sample's time.
void Screen::wait() {
  const uint64_t now_ns = clock_.now_ns();
  const uint64_t left_ms = next_sample_ns_ > now_ns ? (next_sample_ns_ - now_ns) / 1'000'000 + 1 : 0;
  pollfd waits[] = {{STDIN_FILENO, POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
  if (poll(waits, std::size(waits), static_cast<int>(left_ms)) <= 0) return;
  while (const int signal = signals_.next()) {
    if (signal == SIGTSTP) {
      suspend();
    } else if (signal == SIGCONT) {
      clearok(stdscr, TRUE);
    } else {
      leaves_ = true;
      ended_by_ = signal;
    }
  }
}

void Screen::suspend() {
  endwin();
  raise(SIGSTOP);
  // wrefresh() takes the terminal over again
}

void Screen::take_sample() {
  all_ = sample_();
  arrange();
  next_sample_ns_ = clock_.now_ns() + static_cast<uint64_t>(view_.delay_s * 1e9);
}

// Of the same sample: between two keys domains do too little for a rate.
void Screen::arrange() {
  shown_ = matching(all_, view_.search);
  sort_rows(shown_, view_.order, view_.reverse);
}

void Screen::print(int line, const std::string& text, attr_t attributes) {
  if (line >= LINES) return;
  wattrset(stdscr, static_cast<int>(attributes));
  mvwaddnstr(stdscr, line, 0, text.c_str(), COLS);
  wattrset(stdscr, A_NORMAL);
}

void Screen::draw() {
  if (shows_help_) return draw_help();
  werase(stdscr);
  scroll_to(static_cast<int64_t>(first_));
  const int64_t now_s = time(nullptr);
  print(0, fmt::format("polis top: {} {}  {}", host_, clock_text(now_s), top_summary(all_)));
  std::string status =
      fmt::format("by {}{}, every {:.1f} s, rows {} to {} of {}", kTopOrderNames[static_cast<size_t>(view_.order)],
                  view_.reverse ? " reversed" : "", view_.delay_s, shown_.empty() ? 0 : first_ + 1,
                  std::min(shown_.size(), first_ + static_cast<size_t>(page())), shown_.size());
  if (is_typing_) {
    status = fmt::format("search: {}_", view_.search);
  } else {
    status += view_.search.empty() ? "  (? help)" : fmt::format(", with \"{}\" (Escape: all)", view_.search);
  }
  print(1, status);
  const size_t width = top_name_width(shown_, static_cast<size_t>(COLS));
  print(2, fmt::format("{:<{}}", top_header(width), COLS), A_REVERSE);
  for (int line = 0; line < page() && first_ + static_cast<size_t>(line) < shown_.size(); ++line) {
    print(kHeadLines + line, top_line(shown_[first_ + static_cast<size_t>(line)], now_s, width));
  }
  wrefresh(stdscr);
}

void Screen::draw_help() {
  werase(stdscr);
  int line = 0;
  for (const char* text : kHelp) print(line++, text);
  wrefresh(stdscr);
}

void Screen::scroll_to(int64_t first) {
  const int64_t last_page = std::max<int64_t>(0, static_cast<int64_t>(shown_.size()) - page());
  first_ = static_cast<size_t>(std::clamp<int64_t>(first, 0, last_page));
}

void Screen::handle_search(int key) {
  if (key == '\n' || key == '\r' || key == KEY_ENTER) {
    is_typing_ = false;
    return;
  }
  if (key == kEscape) {
    is_typing_ = false;
    view_.search.clear();
  } else if (key == KEY_BACKSPACE || key == '\b' || key == 127) {
    if (!view_.search.empty()) view_.search.pop_back();
  } else if (key >= ' ' && key < 127 && view_.search.size() < 64) {
    view_.search.push_back(static_cast<char>(key));
  }
  arrange();
}

void Screen::handle(int key) {
  if (key == kCtrlC) {
    leaves_ = true;
  } else if (key == kCtrlL) {
    clearok(stdscr, TRUE);
  } else if (key == KEY_RESIZE) {
    // draw() looks at the size
  } else if (shows_help_) {
    shows_help_ = false;
  } else if (is_typing_) {
    handle_search(key);
  } else if (const std::optional<int64_t> first = first_after(key)) {
    scroll_to(*first);
  } else if (change_rows(key)) {
    arrange();
  } else if (key == ' ') {
    next_sample_ns_ = 0;
  } else {
    handle_command(key);
  }
}

// The first row that is seen then, which need not be there.
std::optional<int64_t> Screen::first_after(int key) const {
  const auto first = static_cast<int64_t>(first_);
  switch (key) {
    case KEY_UP:
    case 'k':
      return first - 1;
    case KEY_DOWN:
    case 'j':
      return first + 1;
    case KEY_PPAGE:
      return first - page();
    case KEY_NPAGE:
      return first + page();
    case KEY_HOME:
    case 'g':
      return 0;
    case KEY_END:
    case 'G':
      return static_cast<int64_t>(shown_.size());
    default:
      return std::nullopt;
  }
}

// Which rows there are, and in which order.
bool Screen::change_rows(int key) {
  const auto* sort = std::find_if(std::begin(kSortKeys), std::end(kSortKeys),
                                  [key](const SortKey& candidate) { return candidate.key == key; });
  if (sort != std::end(kSortKeys)) {
    view_.order = sort->order;
  } else if (key == 'R') {
    view_.reverse = !view_.reverse;
  } else if (key == '/' || key == kEscape) {
    is_typing_ = key == '/';
    view_.search.clear();
  } else {
    return false;
  }
  return true;
}

void Screen::handle_command(int key) {
  if (key == 'q') {
    leaves_ = true;
  } else if (key == kCtrlZ) {
    suspend();
  } else if (key == '?' || key == 'h') {
    shows_help_ = true;
  } else if (key == '+') {
    view_.delay_s = std::max(0.5, view_.delay_s / 2);
  } else if (key == '-') {
    view_.delay_s = std::min(64.0, view_.delay_s * 2);
  }
}

}  // namespace

Status show_top(const std::string& host, TopView view, const std::function<std::vector<TopRow>()>& sample,
                const std::function<bool()>& is_over) {
  Signals signals = TRY(take_over_signals());
  return Screen(host, std::move(view), sample, is_over, std::move(signals)).run();
}

}  // namespace xenopolis::cli
