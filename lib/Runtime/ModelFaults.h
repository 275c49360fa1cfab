// Errors of a model's opening as faults.
#ifndef QUERN_LIB_RUNTIME_MODELFAULTS_H
#define QUERN_LIB_RUNTIME_MODELFAULTS_H

#include "Fault.h"

/// Returns the error of `expr` as a Fault.
#define TRY_OR_FAULT(expr)                                                                                             \
  do {                                                                                                                 \
    if (auto &&result = (expr); !result)                                                                               \
      return tl::unexpected<Fault>(Fault(std::move(result).error()));                                                  \
  } while (false)

#endif // QUERN_LIB_RUNTIME_MODELFAULTS_H
