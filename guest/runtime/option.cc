#include "runtime/option.h"

namespace xenopolis::guest::option {
namespace {

Text next_word(Text& rest) {
  while (!rest.empty() && rest.begin[0] == ' ') rest = {rest.begin + 1, rest.size - 1};
  size_t size = 0;
  while (size < rest.size && rest.begin[size] != ' ') ++size;
  Text word{rest.begin, size};
  rest = {rest.begin + size, rest.size - size};
  return word;
}

}  // namespace

Text value(Text name) {
  Text rest = domain::command_line();
  for (Text word = next_word(rest); !word.empty(); word = next_word(rest)) {
    if (word.size > name.size && word.begin[name.size] == '=' && Text{word.begin, name.size} == name) {
      return {word.begin + name.size + 1, word.size - name.size - 1};
    }
  }
  return {};
}

uint64_t number(Text name, uint64_t otherwise) {
  Text text = value(name);
  return text.empty() ? otherwise : number_in(text);
}

bool given(Text name) {
  Text rest = domain::command_line();
  for (Text word = next_word(rest); !word.empty(); word = next_word(rest)) {
    if (word == name) return true;
  }
  return false;
}

}  // namespace xenopolis::guest::option
