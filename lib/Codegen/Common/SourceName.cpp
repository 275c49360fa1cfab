#include "SourceName.h"

#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;
using namespace quern;

llvm::StringRef codegen::sourceName(Location location) {
  if (auto name = dyn_cast<NameLoc>(location))
    return name.getName().getValue();
  if (auto fused = dyn_cast<FusedLoc>(location))
    for (Location part : fused.getLocations())
      if (llvm::StringRef name = sourceName(part); !name.empty())
        return name;
  return "";
}
