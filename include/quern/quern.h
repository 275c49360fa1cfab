/* The C face of the Quern runtime: open a package, hold sessions over it, feed tokens, read logits.
 *
 * Every function that can fail returns a status; quern_last_error() then holds one sentence for the user (per thread,
 * until that thread's next failing call). Handles are opaque. Any thread may use a model and its sessions; calls that
 * compute take turns on the model's thread pool. One session, decoder or sampler must not be used by two threads at the
 * same time. Close sessions, decoders and samplers before their model. Strings are UTF-8. No exception leaves here.
 *
 * Determinism: logits depend on the package, the code version chosen and the tokens, not on the number of threads, the
 * chunking of a prompt or what else is in a batch. */
#ifndef QUERN_QUERN_H
#define QUERN_QUERN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define QUERN_API __attribute__((visibility("default")))
#else
#define QUERN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum quern_status {
  QUERN_OK = 0,
  QUERN_INVALID_ARGUMENT = 1, /* a null pointer, a token out of range, text that is not UTF-8 */
  QUERN_IO_ERROR = 2,         /* the operating system refused a file or a mapping */
  QUERN_BAD_PACKAGE = 3,      /* not a package, another version, damaged */
  QUERN_UNSUPPORTED = 4,      /* no code for this processor, unknown chat template */
  QUERN_OUT_OF_MEMORY = 5,
  QUERN_CONTEXT_FULL = 6,     /* the tokens do not fit into the session's context length; nothing was computed */
  QUERN_BUFFER_TOO_SMALL = 7, /* the needed count was stored; call again with room for it */
  QUERN_CANCELLED = 8,        /* a progress callback asked to stop */
  QUERN_INTERNAL = 9,
  QUERN_DEVICE_FAILED = 10    /* an accelerator's driver failed, or a kernel did; the model cannot be used any more */
} quern_status;

typedef struct quern_model quern_model;
typedef struct quern_session quern_session;
typedef struct quern_decoder quern_decoder;
typedef struct quern_sampler quern_sampler;
typedef struct quern_request quern_request;

/* Called between pieces of long work with how much of it is done. Returns 0 to go on, else the work stops. */
typedef int (*quern_progress)(void *user, uint64_t done, uint64_t total);

QUERN_API const char *quern_version(void);
QUERN_API const char *quern_status_name(quern_status status);
QUERN_API const char *quern_last_error(void);

/* ---- Models ---------------------------------------------------------------------------------------------------- */

typedef struct quern_model_options {
  size_t struct_size;          /* sizeof(quern_model_options), set by quern_model_options_init */
  int32_t threads;             /* 0: one for each processor this process may run on */
  int32_t chunk_tokens;        /* most tokens in one step of a prompt; 0: 256 */
  const char *target;          /* name of the code version to run; NULL or "auto": first that this processor can run */
  const char *masked_features; /* comma-separated processor features to pretend absent; "all": all beyond x86-64-v2 */
  int32_t populate;            /* nonzero: read the weights into memory while opening, not at first use */
  int32_t verify_weights;      /* nonzero: check the hash of the weights while opening */
  quern_progress progress;     /* called while weights are read or verified, in bytes; may be NULL */
  void *progress_user;
  const char *cache_type;      /* how keys and values are kept: NULL or "f16", "q8_0", "f32"; see docs/runtime.md */
  const char *device;          /* NULL or "cpu"; "cuda", "opencl" or "cuda:1" (see quern_devices_visit); "auto": a
                                  device that there is code for, else the processor, and quern_model_info says why */
  int32_t check_kernels;       /* nonzero: wait for each kernel of a device, so that a fault names its op; slow */
  int64_t context_length;      /* 0; else a device is taken only if it has memory for a session of so many tokens too
                                  (-1: as many as the model takes), so that "auto" goes on to the processor */
} quern_model_options;

QUERN_API void quern_model_options_init(quern_model_options *options);

/* Maps the package at `path`, checks everything but the weights, chooses code for this processor, starts the threads.
 * `options` may be NULL. A package of an earlier compiler may know fewer types of cache than this one. */
QUERN_API quern_status quern_model_open(const char *path, const quern_model_options *options, quern_model **model);
QUERN_API void quern_model_close(quern_model *model);

/* What a model is. The strings live as long as the model. */
typedef struct quern_model_info {
  size_t struct_size; /* set by the caller to sizeof(quern_model_info) */
  const char *name;
  const char *architecture;  /* "qwen2", "llama" */
  const char *target;        /* code version in use, e.g. "x86-64-avx512vnni" */
  const char *chat_template; /* "deepseek-r1", "chatml", "custom", "none" */
  uint64_t parameters;
  uint64_t weights_bytes;
  uint64_t cache_bytes_per_position; /* of the cache type in use */
  int64_t layers, hidden, heads, kv_heads, head_dim, feed_forward;
  int64_t vocabulary;        /* length of a row of logits */
  int64_t tokens;            /* number of real tokens; ids from here to vocabulary are padding, never sampled */
  int64_t context_length;    /* the longest the model was made for */
  int32_t threads;           /* 0 on a device */
  int32_t chunk_tokens;
  const char *device;        /* "cpu", "cuda:0" */
  const char *device_name;   /* as its maker calls it; "" of the processor */
  const char *device_note;   /* why the device "auto" is the processor; "" if another was asked for or found */
  const char *device_code;   /* the form in which a device took the code: "machine code for sm_80", "PTX"; else "" */
} quern_model_info;

QUERN_API quern_status quern_model_get_info(const quern_model *model, quern_model_info *info);

/* A device that may run models, one that cannot, or a kind of devices without a driver that can be used. */
typedef struct quern_device_info {
  const char *id;     /* for quern_model_options: "cuda:0"; of other entries the kind: "cuda" */
  const char *name;   /* as its maker calls it; "" of a kind alone */
  const char *target; /* the code that fits it best, for `quern compile --target`: "nvptx:sm_86" */
  uint64_t memory_bytes;
  const char *problem; /* why it cannot run models; of a kind alone: why there is no device of it; else "" */
} quern_device_info;

/* Receives one of the devices; the strings are valid during the call. Returns 0 to go on, else it was the last one. */
typedef int (*quern_device_callback)(void *user, const quern_device_info *info);

/* Tells of all devices of this machine, those of a kind that cannot be used last, and of each kind of which there is
 * none. */
QUERN_API quern_status quern_devices_visit(quern_device_callback callback, void *user);

/* The package's manifest, JSON. Lives as long as the model. */
QUERN_API const char *quern_model_manifest(const quern_model *model, size_t *size);

/* Reads all weights and compares their hash with the package's. */
QUERN_API quern_status quern_model_verify_weights(const quern_model *model, quern_progress progress, void *user);

/* The named tensors of the compiled graph. A dynamic dimension is -1; its name is then that of a dynamic size, or NULL
 * in an output whose size only running can tell. */
typedef struct quern_tensor_info {
  const char *name;
  const char *type; /* "i32", "i64", "f32", "ptr"; of graphs also "f64", "f16", "bf16", "bool", "i8", "u8", ... */
  size_t rank;
  const int64_t *shape;            /* [rank] */
  const char *const *dimension_names; /* [rank], NULL where the dimension is a number */
} quern_tensor_info;

QUERN_API size_t quern_model_input_count(const quern_model *model);
QUERN_API size_t quern_model_output_count(const quern_model *model);
QUERN_API quern_status quern_model_input(const quern_model *model, size_t index, quern_tensor_info *info);
QUERN_API quern_status quern_model_output(const quern_model *model, size_t index, quern_tensor_info *info);

/* ---- Graphs ---------------------------------------------------------------------------------------------------- */

/* 1 for a model that is a graph of named tensors; sessions, text and sampling are for language models (0). */
QUERN_API int quern_model_is_graph(const quern_model *model);

/* One computation of a graph at a time: set the inputs, run, read the outputs; then again with others. Numbers of
 * inputs and outputs are those of quern_model_input and quern_model_output. */
QUERN_API quern_status quern_request_create(quern_model *model, quern_request **request);
QUERN_API void quern_request_close(quern_request *request);

/* `data` is row-major in the input's type and must stay as it is until quern_request_run returns. */
QUERN_API quern_status quern_request_set_input(quern_request *request, size_t index, const void *data,
                                               const int64_t *shape, size_t rank);
/* The caller's buffer for an output, of `bytes` bytes; NULL (as at first): the request keeps the output itself. */
QUERN_API quern_status quern_request_set_output(quern_request *request, size_t index, void *data, uint64_t bytes);
/* The shape that an output will have with the inputs set so far; -1 where it depends on an input that is not set yet,
 * or where only running can tell. */
QUERN_API quern_status quern_request_expected_shape(const quern_request *request, size_t index, int64_t *shape,
                                                    size_t rank);
/* QUERN_BUFFER_TOO_SMALL: it has run, all shapes are told, and outputs that had room are there. */
QUERN_API quern_status quern_request_run(quern_request *request);
/* The last run's output; valid until the next one. QUERN_INVALID_ARGUMENT until a run has come to its end, and after
 * one that failed otherwise than by QUERN_BUFFER_TOO_SMALL; of an output that had too little room, `data` is NULL. */
QUERN_API quern_status quern_request_output(const quern_request *request, size_t index, const void **data,
                                            const int64_t **shape, size_t *rank);

/* ---- Measuring ------------------------------------------------------------------------------------------------- */

/* A package's code brings probes of the machine's limits, made of the same instructions as its kernels and run on the
 * model's threads: "probe_read_plain", "probe_read_prefetch" and "probe_read_streams" read all weights `rounds` times,
 * "probe_dot" (products of bytes) and "probe_fma" (of f32) compute. `work` is the bytes read or the operations done by
 * all threads; the caller keeps the time. */
QUERN_API quern_status quern_model_probe(quern_model *model, const char *name, int64_t rounds, uint64_t *work);

/* Until quern_model_profile_stop, steps run code that also tells when each kernel is done; logits are the same. The
 * nanoseconds of kernel call i, summed over these steps, are those of record i of the op table in section `plan`. */
QUERN_API quern_status quern_model_profile_start(quern_model *model);
QUERN_API quern_status quern_model_profile_stop(quern_model *model, uint64_t *nanoseconds, size_t capacity,
                                                size_t *count);

/* ---- Sessions -------------------------------------------------------------------------------------------------- */

/* A sequence of tokens and its key-value cache. `context_length` is the most tokens it can hold; 0: the model's own. */
QUERN_API quern_status quern_session_create(quern_model *model, int64_t context_length, quern_session **session);
QUERN_API void quern_session_close(quern_session *session);

QUERN_API int64_t quern_session_position(const quern_session *session); /* number of tokens held */
QUERN_API int64_t quern_session_context_length(const quern_session *session);
/* The tokens held, [position]. Valid until the session's next call that changes it. */
QUERN_API const int32_t *quern_session_tokens(const quern_session *session);

/* Forgets all tokens from position `length` on. The logits are gone until the next token. */
QUERN_API quern_status quern_session_truncate(quern_session *session, int64_t length);

/* `progress` is called after each chunk of a prompt, in tokens. NULL: none. When it stops a prompt, the chunks done
 * stay in the session. */
QUERN_API quern_status quern_session_set_progress(quern_session *session, quern_progress progress, void *user);

/* Appends `count` >= 1 tokens, in chunks. The logits after the last one are kept. */
QUERN_API quern_status quern_prefill(quern_session *session, const int32_t *tokens, size_t count);

/* Receives logits of `rows` consecutive tokens, [rows, vocabulary] row-major, the first being token `first` of the
 * call. The memory is valid during the call only. Returns 0 to go on, else the work stops. */
typedef int (*quern_logits_callback)(void *user, size_t first, size_t rows, const float *logits, size_t vocabulary);

/* As quern_prefill, and hands on the logits of all tokens from index `first` of `tokens` on, in order. */
QUERN_API quern_status quern_prefill_all_logits(quern_session *session, const int32_t *tokens, size_t count,
                                                size_t first, quern_logits_callback callback, void *user);

/* Appends one token; its logits are kept. */
QUERN_API quern_status quern_decode(quern_session *session, int32_t token);

/* Appends tokens[i] to sessions[i], distinct sessions of one model, in one step; each keeps its logits. */
QUERN_API quern_status quern_decode_batch(quern_session *const *sessions, const int32_t *tokens, size_t count);

/* Logits after the session's last token, [vocabulary]. Valid until the session's next call that changes it. */
QUERN_API quern_status quern_logits(const quern_session *session, const float **logits, size_t *vocabulary);

/* ---- Text ------------------------------------------------------------------------------------------------------ */

enum {
  QUERN_ADD_BOS = 1,       /* put the beginning-of-sequence token in front, where the model wants one */
  QUERN_PARSE_SPECIAL = 2, /* the text may name control tokens, as "<|im_start|>" */
  QUERN_SKIP_SPECIAL = 4,  /* control tokens give no text */
  QUERN_GENERATION_PROMPT = 8 /* end with the opening of the assistant's reply */
};

/* Stores up to `capacity` ids; *count is the number needed, also when the buffer is too small. */
QUERN_API quern_status quern_tokenize(const quern_model *model, const char *text, size_t size, uint32_t flags,
                                      int32_t *tokens, size_t capacity, size_t *count);
/* Stores up to `capacity` bytes, not terminated; bytes that are no UTF-8 become U+FFFD. */
QUERN_API quern_status quern_detokenize(const quern_model *model, const int32_t *tokens, size_t count, uint32_t flags,
                                        char *text, size_t capacity, size_t *size);

/* The bytes of one token as they are, possibly a part of a character. They live as long as the model. */
QUERN_API quern_status quern_token_bytes(const quern_model *model, int32_t token, const char **bytes, size_t *size);
/* 1 if the token ends a reply, else 0. */
QUERN_API int quern_token_ends_generation(const quern_model *model, int32_t token);
/* Id of the token whose text is exactly this, or -1. */
QUERN_API int32_t quern_token_find(const quern_model *model, const char *text, size_t size);
QUERN_API int32_t quern_bos_token(const quern_model *model); /* -1: none */

/* Turns tokens into text as they come, never splitting a character. */
QUERN_API quern_status quern_decoder_create(const quern_model *model, uint32_t flags, quern_decoder **decoder);
QUERN_API void quern_decoder_free(quern_decoder *decoder);
/* The text that `token` completes, perhaps empty; terminated; valid until the decoder's next call. */
QUERN_API quern_status quern_decoder_push(quern_decoder *decoder, int32_t token, const char **text, size_t *size);
/* What is still held back, as U+FFFD; the decoder can then begin again. */
QUERN_API quern_status quern_decoder_finish(quern_decoder *decoder, const char **text, size_t *size);

typedef struct quern_chat_message {
  const char *role; /* "system", "user", "assistant" */
  const char *content;
} quern_chat_message;

/* Tokens of a conversation in the form the model was trained on. Control tokens named in contents stay plain text.
 * `chat_template`: "deepseek-r1", "chatml", or NULL for the package's own; QUERN_UNSUPPORTED if that is neither.
 * `flags`: QUERN_GENERATION_PROMPT. */
QUERN_API quern_status quern_chat_tokenize(const quern_model *model, const char *chat_template,
                                           const quern_chat_message *messages, size_t message_count, uint32_t flags,
                                           int32_t *tokens, size_t capacity, size_t *count);
/* The same conversation as text, not terminated. */
QUERN_API quern_status quern_chat_render(const quern_model *model, const char *chat_template,
                                         const quern_chat_message *messages, size_t message_count, uint32_t flags,
                                         char *text, size_t capacity, size_t *size);

/* ---- Sampling -------------------------------------------------------------------------------------------------- */

/* Order: padding ids masked, repetition penalty, temperature, top-k, top-p, min-p, draw. */
typedef struct quern_sampler_options {
  size_t struct_size;   /* sizeof(quern_sampler_options), set by quern_sampler_options_init */
  float temperature;    /* 0 or less: the largest logit, ties to the lowest id */
  int32_t top_k;        /* keep the k largest; 0 or less: off */
  float top_p;          /* keep the shortest prefix of at least this probability; 1 or more: off */
  float min_p;          /* keep tokens of at least this part of the largest probability; 0 or less: off */
  float repeat_penalty; /* 1: off */
  int32_t repeat_last_n; /* window of the penalty in tokens; -1: all of the session */
  uint64_t seed;        /* the draw at a position depends on the seed and the position alone */
} quern_sampler_options;

/* The settings for R1 models: temperature 0.6, top-p 0.95, the rest off, seed 0. */
QUERN_API void quern_sampler_options_init(quern_sampler_options *options);
QUERN_API quern_status quern_sampler_create(const quern_model *model, const quern_sampler_options *options,
                                            quern_sampler **sampler);
QUERN_API void quern_sampler_free(quern_sampler *sampler);
/* Chooses the next token from the session's logits; they and its tokens do not change. On a device the session's next
 * steps draw with the same settings while they are at it, so that logits need not be copied. */
QUERN_API quern_status quern_sampler_sample(quern_sampler *sampler, const quern_session *session, int32_t *token);

#ifdef __cplusplus
}
#endif

#endif /* QUERN_QUERN_H */
