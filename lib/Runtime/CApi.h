// What the handles of the C API are, and how its functions end.
#ifndef QUERN_LIB_RUNTIME_CAPI_H
#define QUERN_LIB_RUNTIME_CAPI_H

#include "Model.h"
#include "Session.h"
#include "quern/Runtime/Sampler.h"
#include "quern/quern.h"

#include <memory>
#include <new>
#include <string>
#include <vector>

/// A named tensor in the form that the C API shows.
struct quern_tensor_view {
  std::vector<int64_t> shape;
  std::vector<const char *> names;
};

struct quern_model {
  std::unique_ptr<quern::runtime::Model> impl;
  std::vector<quern_tensor_view> inputs, outputs;
};

struct quern_session {
  std::unique_ptr<quern::runtime::Session> impl;
};

struct quern_decoder {
  const quern::Tokenizer *tokenizer;
  bool skipSpecial;
  quern::TextStream stream;
  std::string text;
};

struct quern_sampler {
  const quern::Tokenizer *tokenizer;
  quern::Sampler impl;
};

namespace quern::runtime {

/// Keeps the sentence for quern_last_error and returns the status.
quern_status report(quern_status status, std::string message) noexcept;

/// Runs `body`, which returns an Outcome<void>, and lets no exception out.
template <typename Body> quern_status guarded(Body body) noexcept {
  try {
    Outcome<void> outcome = body();
    return outcome ? QUERN_OK : report(outcome.error().status, std::move(outcome.error().message));
  } catch (const std::bad_alloc &) {
    return report(QUERN_OUT_OF_MEMORY, "out of memory");
  } catch (...) {
    return report(QUERN_INTERNAL, "an unexpected exception; this is a defect of the runtime");
  }
}

inline Outcome<void> need(bool present, const char *what) {
  if (present)
    return {};
  return fault(QUERN_INVALID_ARGUMENT, std::string(what) + " is a null pointer");
}

/// Text, tokens and sampling are for language models.
inline Outcome<void> needText(const quern_model &model) {
  if (!model.impl->isGraph())
    return {};
  return fault(QUERN_UNSUPPORTED, "the model is a graph of tensors, no language model; use quern_request_create");
}

/// The error of a Result under a status.
template <typename T> tl::unexpected<Fault> as(quern_status status, Result<T> &result) {
  return fault(status, std::move(result.error().message));
}

} // namespace quern::runtime

/// Returns the error of an Outcome from the enclosing lambda.
#define QUERN_CHECK(expr)                                                                                              \
  do {                                                                                                                 \
    if (auto &&outcome = (expr); !outcome)                                                                             \
      return tl::unexpected(std::move(outcome).error());                                                               \
  } while (false)

#endif // QUERN_LIB_RUNTIME_CAPI_H
