#include "Table.h"

#include <algorithm>
#include <cstdio>

using namespace quern;
using nlohmann::ordered_json;

cli::Table::Table(std::vector<std::string> names) : columns(std::move(names)) {
  for (std::string &column : columns) {
    right.push_back(column.starts_with('>'));
    if (right.back())
      column.erase(0, 1);
  }
}

void cli::Table::add(std::vector<std::string> cells) { rows.push_back(std::move(cells)); }

void cli::Table::print() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    widths.push_back(columns[i].size());
    for (const auto &row : rows)
      widths[i] = std::max(widths[i], row[i].size());
  }
  auto printRow = [&](const std::vector<std::string> &cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      std::string space(widths[i] - cells[i].size(), ' ');
      line += "  " + (right[i] ? space + cells[i] : cells[i] + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  };
  printRow(columns);
  for (const auto &row : rows)
    printRow(row);
}

void cli::printRecords(const ordered_json &records) {
  std::vector<std::string> keys, columns;
  for (const ordered_json &record : records)
    for (const auto &[key, value] : record.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        keys.push_back(key);
        columns.push_back(value.is_number() ? ">" + key : key);
      }
  Table table(columns);
  for (const ordered_json &record : records) {
    std::vector<std::string> cells;
    for (const std::string &key : keys) {
      auto value = record.find(key);
      if (value == record.end())
        cells.emplace_back();
      else
        cells.push_back(value->is_string() ? value->get<std::string>() : value->dump());
    }
    table.add(std::move(cells));
  }
  table.print();
}
