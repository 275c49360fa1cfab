// The embedded formats, for tests that go through all of them.
#ifndef QUERN_TEST_UNIT_FORMATS_ALLFORMATS_H
#define QUERN_TEST_UNIT_FORMATS_ALLFORMATS_H

#include "dialects/DQ/DQ.h"

/// A context with the dialect in it; the specs live as long as this.
struct AllFormats {
  AllFormats() { registry().lookup("q8_0"); }
  quern::dq::FormatRegistry &registry() { return context.getOrLoadDialect<quern::dq::DQDialect>()->getFormats(); }
  const quern::formats::FormatSpec &get(llvm::StringRef name) { return registry().lookup(name).getSpec(); }
  std::vector<const quern::formats::FormatSpec *> list() {
    std::vector<const quern::formats::FormatSpec *> specs;
    for (quern::dq::FormatAttr format : registry().list())
      specs.push_back(&format.getSpec());
    return specs;
  }

  mlir::MLIRContext context;
};

#endif // QUERN_TEST_UNIT_FORMATS_ALLFORMATS_H
