// RUN: quern-translate --gpu-to-program -split-input-file -verify-diagnostics %s

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @k(%n: i64) kernel {
      gpu.return
    }
  }
  func.func @step(%n: i64 {host.is = "size", host.index = 0 : i64})
      attributes {host.tokens = array<i64: 1, 8>, host.arena = array<i64: 0, 256>} {
    %one = arith.constant 1 : index
    %bytes = arith.trunci %n : i64 to i32
    // expected-error @+1 {{the size of dynamic shared memory is no constant}}
    gpu.launch_func @kernels::@k blocks in (%one, %one, %one) threads in (%one, %one, %one)
      dynamic_shared_memory_size %bytes args(%n : i64) {host.op = "dq.matmul", host.name = ""}
    return
  }
}

// -----

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @k(%n: i64) kernel {
      gpu.return
    }
  }
  func.func @step(%n: i64 {host.is = "size", host.index = 0 : i64})
      attributes {host.tokens = array<i64: 1, 8>, host.arena = array<i64: 0, 256>} {
    %one = arith.constant 1 : index
    %threads = arith.index_cast %n : i64 to index
    // expected-error @+1 {{the size of a block is no constant}}
    gpu.launch_func @kernels::@k blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%n : i64) {host.op = "dq.matmul", host.name = ""}
    return
  }
}
