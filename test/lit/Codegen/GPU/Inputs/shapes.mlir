// Two products of matrices; sm_75 has the first one.
gpu.module @kernels {
  gpu.func @products(%a: vector<2x2xf16>, %wide: vector<4x2xf16>, %b: vector<1x2xf16>, %long: vector<2x2xf16>,
                     %c: vector<2x2xf32>, %out: memref<2x2xf32>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %0 = nvgpu.mma.sync (%a, %b, %c) {mmaShape = [16, 8, 8]}
        : (vector<2x2xf16>, vector<1x2xf16>, vector<2x2xf32>) -> vector<2x2xf32>
    %1 = nvgpu.mma.sync (%wide, %long, %0) {mmaShape = [16, 8, 16]}
        : (vector<4x2xf16>, vector<2x2xf16>, vector<2x2xf32>) -> vector<2x2xf32>
    %low = vector.extract %1[0] : vector<2xf32> from vector<2x2xf32>
    %high = vector.extract %1[1] : vector<2xf32> from vector<2x2xf32>
    vector.store %low, %out[%c0, %c0] : memref<2x2xf32>, vector<2xf32>
    vector.store %high, %out[%c1, %c0] : memref<2x2xf32>, vector<2xf32>
    gpu.return
  }
}
