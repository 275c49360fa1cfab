// Errors as values: every library function that can fail on bad input returns a Result with one clear sentence that
// names the file, the tensor or the op, and what to do. Free of LLVM, so that the runtime can use it.
#ifndef QUERN_SUPPORT_RESULT_H
#define QUERN_SUPPORT_RESULT_H

#include <tl/expected.hpp>
#include <string>
#include <utility>

namespace quern {

/// What went wrong, as one sentence for the user (no trailing newline).
struct Error {
  std::string message;
};

template <typename T> using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(std::string message) {
  return tl::unexpected<Error>(Error{std::move(message)});
}

} // namespace quern

/// Returns the error of `expr` from the enclosing function if it failed.
#define QUERN_TRY(expr)                                                                                                \
  do {                                                                                                                 \
    if (auto quernTry = (expr); !quernTry)                                                                             \
      return tl::unexpected(std::move(quernTry).error());                                                             \
  } while (false)

#define QUERN_CONCAT_(a, b) a##b
#define QUERN_CONCAT(a, b) QUERN_CONCAT_(a, b)

/// `QUERN_ASSIGN(auto value, expr);` binds the value of a Result, or returns its error from the enclosing function.
#define QUERN_ASSIGN(declaration, expr)                                                                                \
  auto QUERN_CONCAT(quernResult, __LINE__) = (expr);                                                                   \
  if (!QUERN_CONCAT(quernResult, __LINE__))                                                                            \
    return tl::unexpected(std::move(QUERN_CONCAT(quernResult, __LINE__)).error());                                     \
  declaration = *std::move(QUERN_CONCAT(quernResult, __LINE__))

#endif // QUERN_SUPPORT_RESULT_H
