#include "Progress.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

using namespace quern;

cli::Progress::Progress(std::string label)
    : label(std::move(label)), begin(Clock::now()), drawn(begin), terminal(isatty(STDERR_FILENO)) {}

cli::Progress::~Progress() {
  if (visible)
    std::fprintf(stderr, "\r\033[K");
}

void cli::Progress::update(double fraction) {
  auto now = Clock::now();
  if (!terminal || now - begin < std::chrono::seconds(1) || now - drawn < std::chrono::milliseconds(100))
    return;
  drawn = now;
  visible = true;
  constexpr int width = 30;
  fraction = std::clamp(fraction, 0.0, 1.0);
  std::string bar(int(fraction * width + 0.5), '#');
  double elapsed = std::chrono::duration<double>(now - begin).count();
  std::fprintf(stderr, "\r%s [%-*s] %3.0f %%", label.c_str(), width, bar.c_str(), 100 * fraction);
  if (fraction > 0.01)
    std::fprintf(stderr, ", %.0f s left", elapsed / fraction - elapsed);
  std::fprintf(stderr, "\033[K");
}
