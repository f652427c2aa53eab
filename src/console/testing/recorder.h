// For tests: a viewer that writes down all that it can see.
#pragma once

#include <map>
#include <string>

#include "console/server.h"

namespace xenopolis::console {

class Recorder final : public Viewer {
 public:
  void on_output(Console& console) override {
    Cursor& cursor = cursors_[key(console)];
    for (Piece piece; piece = console.stream().next(cursor, missed), !piece.text.empty();) {
      said[console.name()] += piece.text;
    }
  }
  void on_room(Console&) override { ++rooms; }
  void on_end(Console& console) override {
    on_output(console);
    cursors_.erase(key(console));
    ++ends;
  }

  std::map<std::string, std::string> said;  // by the domain's name
  uint64_t missed = 0;
  int rooms = 0, ends = 0;

 private:
  static std::pair<DomId, uint16_t> key(const Console& console) { return {console.id().domid, console.id().index}; }
  std::map<std::pair<DomId, uint16_t>, Cursor> cursors_;
};

}  // namespace xenopolis::console
