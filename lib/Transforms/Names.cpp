#include "quern/Transforms/Names.h"
#include "quern/Support/Quoted.h"

#include "llvm/ADT/SmallVector.h"

using namespace mlir;
using namespace quern;

static constexpr size_t kMostNames = 3;

static std::string listOf(llvm::ArrayRef<std::string> names) {
  std::string text;
  for (const std::string &name : names.take_front(kMostNames))
    text += (text.empty() ? "" : ", ") + name;
  return names.size() > kMostNames ? text + " and " + std::to_string(names.size() - kMostNames) + " more" : text;
}

/// Appends a text for each named location.
static void collect(Location location, llvm::SmallVectorImpl<std::string> &out) {
  if (auto fused = dyn_cast<FusedLoc>(location))
    for (Location part : fused.getLocations())
      collect(part, out);
  auto named = dyn_cast<NameLoc>(location);
  if (!named)
    return;
  llvm::SmallVector<std::string> origins;
  collect(named.getChildLoc(), origins);
  llvm::StringRef name = named.getName();
  out.push_back(origins.empty() ? inQuotes(name) : listOf(origins) + " (" + printable(name) + ")");
}

std::string transforms::describe(Location location) {
  llvm::SmallVector<std::string> names;
  collect(location, names);
  return listOf(names);
}

std::string transforms::describe(dq::SourceOp source) {
  std::string names = describe(source.getLoc());
  return names.empty() ? inQuotes(source.getSymName()) : names;
}
