dq.source @q : tensor<1536x1536xbf16> in 0 at 0 bytes 4718592
dq.source @k : tensor<256x1536xbf16> in 0 at 0 bytes 786432
dq.source @gate : tensor<8960x1536xbf16> in 0 at 0 bytes 27525120
dq.source @down : tensor<1536x8960xbf16> in 0 at 0 bytes 27525120
dq.source @more : tensor<6912x1536xbf16> in 0 at 0 bytes 21233664
dq.source @odd : tensor<600x200xbf16> in 0 at 0 bytes 240000

func.func @bfloat(%x: tensor<?x1536xbf16>, %wide: tensor<?x8960xbf16>, %few: tensor<?x200xbf16>,
                  %r: tensor<?x1536xf32>, %r1: tensor<?x6912xf32>)
    -> (tensor<?x1536xf32>, tensor<?x256xf32>, tensor<?x8960xf32>, tensor<?x1536xf32>, tensor<?x600xf32>,
        tensor<?x6912xf32>) {
  %q = dq.weight @q : tensor<1536x1536xbf16>
  %k = dq.weight @k : tensor<256x1536xbf16>
  %gate = dq.weight @gate : tensor<8960x1536xbf16>
  %down = dq.weight @down : tensor<1536x8960xbf16>
  %odd = dq.weight @odd : tensor<600x200xbf16>
  %0, %1 = dq.matmul %x, [%q, %k] : tensor<?x1536xbf16>, [tensor<1536x1536xbf16>, tensor<256x1536xbf16>]
    -> tensor<?x1536xf32>, tensor<?x256xf32>
  %2 = dq.matmul swiglu %x, [%gate, %gate] : tensor<?x1536xbf16>, [tensor<8960x1536xbf16>, tensor<8960x1536xbf16>]
    -> tensor<?x8960xf32>
  %3 = dq.matmul %wide, [%down] residual(%r : tensor<?x1536xf32>) : tensor<?x8960xbf16>, [tensor<1536x8960xbf16>]
    -> tensor<?x1536xf32>
  %4 = dq.matmul %few, [%odd] : tensor<?x200xbf16>, [tensor<600x200xbf16>] -> tensor<?x600xf32>
  %more = dq.weight @more : tensor<6912x1536xbf16>
  %5 = dq.matmul %x, [%more] residual(%r1 : tensor<?x6912xf32>)
    : tensor<?x1536xbf16>, [tensor<6912x1536xbf16>] -> tensor<?x6912xf32>
  return %0, %1, %2, %3, %4, %5
    : tensor<?x1536xf32>, tensor<?x256xf32>, tensor<?x8960xf32>, tensor<?x1536xf32>, tensor<?x600xf32>,
      tensor<?x6912xf32>
}
