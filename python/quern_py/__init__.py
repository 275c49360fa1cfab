"""Python helpers of Quern: reading and writing GGUF files with numpy alone."""
