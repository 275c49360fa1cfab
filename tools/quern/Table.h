// Plain tables of text, columns as wide as needed; numbers to the right.
#ifndef QUERN_TOOLS_TABLE_H
#define QUERN_TOOLS_TABLE_H

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace quern::cli {

class Table {
public:
  /// Columns whose name begins with '>' are aligned right (the '>' is not printed).
  explicit Table(std::vector<std::string> columns);
  void add(std::vector<std::string> cells);
  void print() const;

private:
  std::vector<std::string> columns;
  std::vector<bool> right;
  std::vector<std::vector<std::string>> rows;
};

/// An array of objects as a table with a column for each key, in the order of their first appearance.
void printRecords(const nlohmann::ordered_json &records);

} // namespace quern::cli

#endif // QUERN_TOOLS_TABLE_H
