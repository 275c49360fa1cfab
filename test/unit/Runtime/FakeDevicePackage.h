// A package whose code for a device is PTX written by hand: the model of FakeModel.h, in four kernels, with a plan for
// one token and one for up to 16. A position of the cache is a token; the weights are the logits of all other tokens.
#ifndef QUERN_TEST_FAKEDEVICEPACKAGE_H
#define QUERN_TEST_FAKEDEVICEPACKAGE_H

#include "FakeModel.h"
#include "quern/Runtime/DeviceProgram.h"

#include <map>
#include <string>

namespace quern::test {

constexpr int64_t kFakeMostTokens = 16;

struct FakeDevicePackage {
  Manifest manifest;
  DeviceProgram program;
  std::string ptx;
  std::vector<uint8_t> weights;
  std::map<std::string, std::string> sections; ///< further ones
  bool withProcessorCode = true;               ///< for which every token is followed by 'a'

  FakeDevicePackage();
  /// Has the program tell the likeliest token of each output.
  void chooseTokens();
  /// Has it draw tokens too, behind that: `topK` and the random number in 64ths, or none where that is 1,000 or more.
  void drawTokens();
  /// Lets launches overlap, in code for sm_90.
  void overlapLaunches();
  /// Has each step end with a launch that fails where counters are not zero.
  void takeCounters();
  int64_t vocabulary() const { return manifest.model.vocabulary; }
  /// Writes it; fails the test if that fails.
  void write(const std::string &path) const;
};

} // namespace quern::test

#endif // QUERN_TEST_FAKEDEVICEPACKAGE_H
