// Blocks made by ggml's own encoders (reference C, no fused multiply-add) from
// x[i] = (((i*7919+13) mod 1000) - 500)/256, and what its decoder makes of them.
// Hashes: FNV-1a of 64 bits from the start value 1469598103934665603.
#ifndef QUERN_TEST_UNIT_FORMATS_GOLDENVECTORS_H
#define QUERN_TEST_UNIT_FORMATS_GOLDENVECTORS_H

#include <cstdint>

/// A whole block of 256 weights, the hash of its bytes and the hash of its 256 decoded little-endian f32.
struct GoldenBlock {
  const char *format;
  uint64_t encodedHash, decodedHash;
  const char *hex;
};

inline constexpr GoldenBlock goldenBlocks[] = {
    {"q2_K", 0x6b73207d2865f4cc, 0x911104d8ef6e7119,
     "efbeffcfdecececebeceefdeefdfcede343727e7e2d29e9d8d49497878372727e2d2de9d8989487874372723e2d2de9dd2de9d9d"
     "89487878372727e2e2d29d9d8d89487874272723e2d2de9d8d894878b22c0230"},
    {"q3_K", 0xf24673d4c4064405, 0x996e366ed983032f,
     "4c6d7d75f5f1b3b3828a8a0e4e4d7d7da6a62565455d5d5bdb9ababaa6a6a465bcefdb164571bcecdb1a4671b1afebda0e4f90a4"
     "e9393e4393a4e5f90e4f5394479face939364393acedf93a47579ce95b16c6f1bc6f5b1ac6f1bc6c6b1a06f1b35b054bb55bbc5a"
     "f00fcc0faea4"},
    {"q4_K", 0xcdf3f59fb1e68c67, 0x7b2cac22273d3c09,
     "171ccc27fffffcfefefdfdfccefefeef605e4d2c1a09e8d7c5a49382705f4d3c2b0af8d7c6b5a382716f5e3d2b1af9e83d2c1af9"
     "e8d7b5a49381605f4e2c1b0ae8d7c6b49382705f4e3d2b0af9e7c6b51af8e7d6b5a392816f5e4d2b1a09e8d6c5b49281705e4d3c"
     "2b09f8e7c5b4a382d7c6b59382716f4e3d2b1af9e8c6b5a49271605e4d2c1b09e8d7c5a49382705f"},
    {"q5_K", 0x12bdf8febadd2757, 0xedb7eba8eece381a,
     "09180328fffffcfffcfcfcfcbeffefef94b5a5adad296b4a5a5252d69495a5a5ad292b6a4a5a5256d495b5a5ada92b6ad0ad8a58"
     "2503d0ad8b583603e1be8b693613e1be9c694714e2cf9c794724f2cf7b4825f3c0ad7b4825f3d0ae8c593604d1ae8c593604e1bf"
     "9d6a4715e2bf9d6a24f1cfac795724f2dfac8a573502dfbd8a583503e0bd9b684613e0be9b694613be9c694714f2cf9c7a4724f2"
     "cfad7a5825f3d0ad8a583503d0ae8b593603e1be"},
    {"q6_K", 0xe2d08ad659fadf0b, 0x768011156e0b38bc,
     "500cb7620cb7621cb7621dc7722ed974e2379ce2379ce2176cc0157bc0157bc01b66b01b66b10c57a2fc57a2fd4792ed287dd328"
     "8de2379ce1479cf1065bb116378ce1369be0055ab1066bb0156acf14b6601ba5500eb9631ec8732dd8823dc774dd2883de2984df"
     "3a85e00b56b10a6551fca6510bb6611bb6601ec9631ec873f4f7e72322125e5d4d4988b8b4f7e7e31d2d21627276b7878bc8d8dc"
     "1d2d2162212d6e7e7abb8b87c4d4d41121216d7e8d49487874372723e2d2de9d8d8948788779857d85777e747f8b808a75807683"
     "0990"},
    {"iq4_xs", 0x97e0ceb2b2bc7192, 0xec865bca290a5468,
     "191030fc101df0ff4f517283a4c6d7e9fb0c1d2e3f516283eafb0c1e2f4f517283a4c6d7e9fb0c1d9e7d5b4a281604f3f2e1c0bf"
     "9e7d6c4a1d2e3f40517293b4c6d8e9fb0c1e2e4fb5c7d8eafb1d2e3f40517293a4c6d8e9d1bfae8d6c5b39281604f3e2d1c0af9e"
     "271504f3e2d1bfae8d6c5b49281604f39e8d6c4b39271504f3e2d1cfae8e7c5b"},
    {"q4_K", 0x63d555d5c5c3ac35, 0x1ee414cd6d2db661,
     "111cdb27fefefcfbfdfbfdf9dfffbbef605e4d2c1b09e8d7c5a49382705f4e3c1b0af8d7c6b5a382716f4e3d2b1af9e83d2c0bf9"
     "e8d7c5a49381605f4e2c1b0af8d7c6b49382705f4e3d1c0af9e8d6b51af8e7d6b5a392816f5e4d2b1a09e8d6c5a49381705e4d3c"
     "2b09f8d7c6b4a382d7c6b4a382706f5e3d2c1af9e8d6b5a39271605f4d2c1b09e8d7c5a49381705f"},
    {"q6_K", 0x1946446ec783085e, 0xfe9cf5bb4212160d,
     "601db8620db7520cb7510cd6813fda84e2379ce2379ce1176cc0167bc0157bc01b75c00b55a00d57a2fd57a2fd57a2fd287dd328"
     "8de2379ce1479cf1065bb106378ce1369be0055ab1066bb0156acf14b6611ba6510db8631dc8732dd8833dc884dd2883de2984df"
     "2a85d01b66b11a6551fca6510ca6510bc6601ec9731ec873f4f7e72322125e5d4d4988b8b4f7e7e31d2d21627276b7878bc8d8dc"
     "1d2d2162212d6e7e7abb8b87c4d4d41121216d7e8d49487874372723e2d2de9d8d8948788b7a887d8a7779737f88808a75807986"
     "0b90"},
};

/// The first block of 32 weights, and its first four decoded values.
struct GoldenStart {
  const char *format;
  float values[4];
  const char *hex;
};

inline constexpr GoldenStart goldenStarts[] = {
    {"q4_0", {-1.66796875f, 1.66796875f, 1.4296875f, 0.953125f},
     "a0b34f617284a5b6c8e9fa0c1d3e4f507283"},
    {"q4_1", {-1.90234375f, 1.65234375f, 1.3984375f, 1.14453125f},
     "10349cbfb0ae8d7c6a59382715f4e3d2b0af9d8c"},
    {"q5_0", {-1.78710938f, 1.66796875f, 1.4296875f, 1.07226562f},
     "a0af811ff8819fc2e4174a6c9fb2e4073a5c8fb1d406"},
    {"q5_1", {-1.90234375f, 1.66070557f, 1.41497803f, 1.04638672f},
     "dd2f9cbf7ee007fe604d1bf8c5a3704e2bf9c6a3715e2c09"},
    {"q8_0", {-1.90589142f, 1.68078613f, 1.36563873f, 1.05049133f},
     "af2381705b46311c07f2ddc8b39e8978634e38230ef9e4cfbaa5907f6a55402b1601"},
    {"iq4_nl", {-1.7414856f, 1.6027832f, 1.27914429f, 1.0017395f},
     "e4a34f517283a4c6d7e9fb0c1d2e3f406182"},
    {"mxfp4", {-1.5f, 1.5f, 1.5f, 1.0f},
     "7d5f472796b5d3e1fafc7d7e7f6f573706"},
};

#endif // QUERN_TEST_UNIT_FORMATS_GOLDENVECTORS_H
