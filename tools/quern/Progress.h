// A progress bar on standard error, only where that is a terminal and only once the work has lasted a second.
#ifndef QUERN_TOOLS_PROGRESS_H
#define QUERN_TOOLS_PROGRESS_H

#include <chrono>
#include <string>

namespace quern::cli {

class Progress {
public:
  explicit Progress(std::string label);
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;
  ~Progress(); ///< wipes the bar

  /// `fraction` of the work is done, 0 to 1. Cheap: redraws at most ten times a second.
  void update(double fraction);
  void relabel(std::string text) { label = std::move(text); }

private:
  using Clock = std::chrono::steady_clock;
  std::string label;
  Clock::time_point begin, drawn;
  bool terminal, visible = false;
};

} // namespace quern::cli

#endif // QUERN_TOOLS_PROGRESS_H
