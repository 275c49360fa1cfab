"""The C API by ctypes, as far as the tests need it."""
import ctypes
from array import array

INT32S = ctypes.POINTER(ctypes.c_int32)
FLOATS = ctypes.POINTER(ctypes.c_float)
ADD_BOS, PARSE_SPECIAL = 1, 2
LOGITS_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, FLOATS,
                                   ctypes.c_size_t)


class ModelOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("threads", ctypes.c_int32), ("chunk_tokens", ctypes.c_int32),
                ("target", ctypes.c_char_p), ("masked_features", ctypes.c_char_p), ("populate", ctypes.c_int32),
                ("verify_weights", ctypes.c_int32), ("progress", ctypes.c_void_p), ("progress_user", ctypes.c_void_p),
                ("cache_type", ctypes.c_char_p),
                ("device", ctypes.c_char_p), ("check_kernels", ctypes.c_int32)]


def int32s(tokens):
    return (ctypes.c_int32 * len(tokens))(*tokens)


class Library:
    def __init__(self, path):
        self.c = ctypes.CDLL(str(path))
        self.c.quern_last_error.restype = ctypes.c_char_p
        self.c.quern_session_create.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p)]
        self.c.quern_session_truncate.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        self.c.quern_prefill.argtypes = [ctypes.c_void_p, INT32S, ctypes.c_size_t]
        self.c.quern_prefill_all_logits.argtypes = [ctypes.c_void_p, INT32S, ctypes.c_size_t, ctypes.c_size_t,
                                                    LOGITS_CALLBACK, ctypes.c_void_p]
        self.c.quern_decode_batch.argtypes = [ctypes.POINTER(ctypes.c_void_p), INT32S, ctypes.c_size_t]
        self.c.quern_logits.argtypes = [ctypes.c_void_p, ctypes.POINTER(FLOATS), ctypes.POINTER(ctypes.c_size_t)]
        self.c.quern_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32, INT32S,
                                          ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]
        for name in ("quern_model_close", "quern_session_close"):
            getattr(self.c, name).argtypes = [ctypes.c_void_p]
            getattr(self.c, name).restype = None

    def call(self, name, *arguments):
        status = getattr(self.c, name)(*arguments)
        assert status == 0, self.c.quern_last_error().decode()

    def open(self, path, **options):
        return Model(self, path, options)


class Model:
    """An open package; `options` are fields of ModelOptions."""

    def __init__(self, library, path, options):
        self.library, self.handle = library, ctypes.c_void_p()
        chosen = ModelOptions(struct_size=ctypes.sizeof(ModelOptions), **options)
        library.call("quern_model_open", str(path).encode(), ctypes.byref(chosen), ctypes.byref(self.handle))

    def __enter__(self):
        self.sessions = []
        return self

    def __exit__(self, *_):
        for session in self.sessions:
            self.library.c.quern_session_close(session.handle)
        self.library.c.quern_model_close(self.handle)

    def session(self, context=0):
        self.sessions.append(Session(self, context))
        return self.sessions[-1]

    def tokenize(self, text):
        """Ids of a text that may name control tokens, with what the model wants in front."""
        data, count = text.encode(), ctypes.c_size_t()
        tokens = (ctypes.c_int32 * (len(data) + 1))()
        self.library.call("quern_tokenize", self.handle, data, len(data), ADD_BOS | PARSE_SPECIAL, tokens, len(tokens),
                          ctypes.byref(count))
        return tokens[:count.value]

    def decode(self, sessions, tokens):
        handles = (ctypes.c_void_p * len(sessions))(*(session.handle for session in sessions))
        self.library.call("quern_decode_batch", handles, int32s(tokens), len(sessions))


class Session:
    def __init__(self, model, context):
        self.library, self.handle = model.library, ctypes.c_void_p()
        self.library.call("quern_session_create", model.handle, context, ctypes.byref(self.handle))

    def prefill(self, tokens):
        self.library.call("quern_prefill", self.handle, int32s(tokens), len(tokens))

    def truncate(self, length):
        self.library.call("quern_session_truncate", self.handle, length)

    def logits(self):
        """The row's bytes: to be compared bit for bit."""
        row, size = FLOATS(), ctypes.c_size_t()
        self.library.call("quern_logits", self.handle, ctypes.byref(row), ctypes.byref(size))
        return ctypes.string_at(row, 4 * size.value)

    def all_logits(self, tokens, first=0):
        """The rows' bytes of the tokens from `first` on."""
        rows = []

        def take(_, start, count, logits, vocabulary):
            assert start == first + len(rows)
            rows.extend(ctypes.string_at(ctypes.byref(logits.contents, 4 * vocabulary * i), 4 * vocabulary)
                        for i in range(count))
            return 0

        self.library.call("quern_prefill_all_logits", self.handle, int32s(tokens), len(tokens), first,
                          LOGITS_CALLBACK(take), None)
        return rows


def floats(row):
    return array("f", row)
