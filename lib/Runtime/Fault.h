// Errors inside the runtime: a sentence with the status that the C API returns for it.
#ifndef QUERN_LIB_RUNTIME_FAULT_H
#define QUERN_LIB_RUNTIME_FAULT_H

#include "quern/Support/Result.h"
#include "quern/quern.h"

namespace quern::runtime {

struct Fault {
  quern_status status;
  std::string message;

  Fault(quern_status status, std::string message) : status(status), message(std::move(message)) {}
  /// What the readers of packages refuse is a bad package.
  Fault(Error error) : status(QUERN_BAD_PACKAGE), message(std::move(error.message)) {}
};

template <typename T> using Outcome = tl::expected<T, Fault>;

inline tl::unexpected<Fault> fault(quern_status status, std::string message) {
  return tl::unexpected<Fault>(Fault(status, std::move(message)));
}

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_FAULT_H
