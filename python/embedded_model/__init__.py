"""The embedded model: a small Qwen2 trained on generated word problems, used by the test suite."""
