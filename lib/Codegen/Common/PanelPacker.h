// Private to the packer.
#ifndef QUERN_LIB_CODEGEN_COMMON_PANELPACKER_H
#define QUERN_LIB_CODEGEN_COMMON_PANELPACKER_H

#include "quern/Codegen/PanelLayout.h"

#include <functional>

namespace quern::codegen {

/// Makes a panel at `out` of up to 16 stored rows; missing ones are zeros. For one thread, which may call it again.
using PanelPacker = std::function<void(const uint8_t *const *rows, int64_t rowCount, uint8_t *out)>;

/// For rows of k weights; `spec` is null for plain floats. Layout and format must outlive it.
PanelPacker panelPacker(const PanelLayout &layout, const formats::FormatSpec *spec, int64_t k);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_COMMON_PANELPACKER_H
