// The functions that the hardware approximates. Here they are computed in double and rounded: a kernel has to stand the
// hardware's error (2 ulp of ex2 and rsqrt, 2^-22 of lg2, 2^-11 of tanh), which the executor does not show.
#include "test/ptx/Handlers.h"

namespace quern::ptx {
namespace {

template <double (*Function)(double)> struct Computed {
  template <typename T> T operator()(T a) const { return narrow<T>(Function(widen(a))); }
};

double reciprocal(double x) { return 1 / x; }
double inverseRoot(double x) { return 1 / std::sqrt(x); }
double squareRoot(double x) { return std::sqrt(x); }
double power(double x) { return std::exp2(x); }
double logarithm(double x) { return std::log2(x); }
double sine(double x) { return std::sin(x); }
double cosine(double x) { return std::cos(x); }
double tangent(double x) { return std::tanh(x); }

template <double (*Function)(double)> void function(Decoder &d) {
  d.ignore({"approx", "rn"});
  if (d.take("ftz"))
    d.out.flags |= kFlush;
  d.run(Operation<1, Computed<Function>>::floats(d.takeType()));
  d.destination();
  d.slot();
}

} // namespace

const OpcodeTable &functionOpcodes() {
  static const OpcodeTable table = {
      {"rcp", function<reciprocal>}, {"sqrt", function<squareRoot>}, {"rsqrt", function<inverseRoot>},
      {"ex2", function<power>},      {"lg2", function<logarithm>},   {"sin", function<sine>},
      {"cos", function<cosine>},     {"tanh", function<tangent>},
  };
  return table;
}

} // namespace quern::ptx
