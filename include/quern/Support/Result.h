// Errors as values: every library function that can fail on bad input returns a Result with one clear sentence that
// names the file, the tensor or the op, and what to do. Free of LLVM, so that the runtime can use it.
#ifndef QUERN_SUPPORT_RESULT_H
#define QUERN_SUPPORT_RESULT_H

#include <expected>
#include <string>
#include <utility>

namespace quern {

/// What went wrong, as one sentence for the user (no trailing newline).
struct Error {
  std::string message;
};

template <typename T> using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(std::string message) {
  return std::unexpected<Error>(Error{std::move(message)});
}

} // namespace quern

/// Returns the error of `expr` from the enclosing function if it failed.
#define QUERN_TRY(expr)                                                                                                \
  do {                                                                                                                 \
    if (auto quernTry = (expr); !quernTry)                                                                             \
      return std::unexpected(std::move(quernTry).error());                                                             \
  } while (false)

#endif // QUERN_SUPPORT_RESULT_H
