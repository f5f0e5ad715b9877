#pragma once
#include <lamina/text/jinja/values/value.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

/// A template as it is read: trees of statements and expressions.
namespace lamina::text::jinja {

struct Expression {
  enum class Kind {
    literal,      ///< value
    name,         ///< text
    list,         ///< children
    tuple,        ///< children
    dict,         ///< children: key, value, key, value ...
    attribute,    ///< children[0] . text
    item,         ///< children[0] [ children[1] ]
    slice,        ///< the index begin:end:step; children, none for one that is not written
    call,         ///< children[0] ( children from 1 on, named )
    filter,       ///< children[0] | text ( children from 1 on, named ); in a block children[0] is none
    test,         ///< children[0] is text ( children from 1 on, named )
    unary,        ///< text: + - not
    binary,       ///< text: + - * / // % **
    concat,       ///< children joined by ~
    compare,      ///< children joined by words: == != < <= > >= in notin
    logical_and,  ///< children, two
    logical_or,   ///< children, two
    conditional,  ///< children: the value, the condition, the other value (none: undefined)
    none          ///< nothing is written here
  } kind = Kind::none;
  int line = 0;
  std::string text = {};
  Value value = {};
  std::vector<Expression> children = {};
  std::vector<std::pair<std::string, Expression>> named = {};
  std::vector<std::string> words = {};
  int depth = 0;  ///< of expressions below

  bool is_written() const { return kind != Kind::none; }
};

/// What {% set %} and {% for %} assign to: names, or one attribute of a namespace.
struct Target {
  std::vector<std::string> names;
  bool unpack = false;    ///< the value is a sequence of as many items as names
  std::string attribute;  ///< names[0].attribute
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind {
    data,         ///< text
    output,       ///< expressions, written one after the other
    conditional,  ///< blocks[i] if expressions[i]; one block more is the else
    loop,         ///< for target in expressions[0] if expressions[1] (or none): blocks[0]; else blocks[1]
    set,          ///< target = expressions[0]
    set_block,    ///< target = the text of blocks[0], through expressions[0] if it is written
    with,         ///< targets[i] = expressions[i] in blocks[0]
    macro,        ///< text(parameters): blocks[0]
    call,         ///< expressions[0], whose caller(parameters) is blocks[0]
    filter,       ///< the text of blocks[0] through expressions[0]
    generation,   ///< blocks[0]: transformers marks the assistant's tokens by it
    leave,        ///< break
    next          ///< continue
  } kind;
  int line = 0;
  std::string text = {};
  std::vector<Expression> expressions = {};
  std::vector<Target> targets = {};
  std::vector<Block> blocks = {};
  std::vector<std::pair<std::string, Expression>> parameters = {};  ///< with their defaults
};

}  // namespace lamina::text::jinja
