// What the parts of a model's opening share.
#ifndef QUERN_LIB_RUNTIME_MODELFAULTS_H
#define QUERN_LIB_RUNTIME_MODELFAULTS_H

#include "Fault.h"
#include "quern/Runtime/PackageReader.h"

#include <string_view>

namespace quern::runtime {

/// The bytes of a section, or of none, as text.
inline std::string_view textOf(const package::Section *section) {
  return section ? std::string_view(reinterpret_cast<const char *>(section->bytes.data()), section->bytes.size())
                 : std::string_view();
}

} // namespace quern::runtime

/// Returns the error of `expr` as a Fault.
#define TRY_OR_FAULT(expr)                                                                                             \
  do {                                                                                                                 \
    if (auto &&result = (expr); !result)                                                                               \
      return tl::unexpected<Fault>(Fault(std::move(result).error()));                                                  \
  } while (false)

#endif // QUERN_LIB_RUNTIME_MODELFAULTS_H
