/**
 * @file value.h
 * What a message holds: a read-only view of it, and a writer that makes one. Both serve the two formats of Node's
 * channel alike: JSON, and V8's structured clone ("advanced"). No loop, no thread of its own: a value or a writer may
 * be used by one thread at a time.
 */
#ifndef BROOD_VALUE_H
#define BROOD_VALUE_H

#include <brood/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What JavaScript calls it. JSON knows only null, bool, number, string, array and object. */
typedef enum brood_type {
    BROOD_MISSING = 0, /**< there is no such member, or what was asked has none */
    BROOD_UNDEFINED,   /**< undefined; also a hole in an array */
    BROOD_NULL,        /**< null */
    BROOD_BOOL,        /**< true or false */
    BROOD_NUMBER,      /**< a double */
    BROOD_BIGINT,      /**< a whole number of any size */
    BROOD_STRING,      /**< text */
    BROOD_DATE,        /**< milliseconds since 1970 as a number, NaN if invalid */
    BROOD_BYTES,       /**< an ArrayBuffer, a typed array, a DataView, a Buffer: brood_value_view tells which */
    BROOD_ARRAY,       /**< has elements, and may have members with a name */
    BROOD_OBJECT,      /**< has members, with a name each */
    BROOD_MAP,         /**< has entries; each has a key, which may be anything */
    BROOD_SET,         /**< has elements */
    BROOD_REGEXP,      /**< has the members "source" and "flags" */
    BROOD_ERROR        /**< has the members "name" and, where it has them, "message", "stack", "cause" */
} brood_type;

/** What kind of BROOD_BYTES. */
typedef enum brood_view {
    BROOD_ARRAY_BUFFER = 0,    /**< ArrayBuffer */
    BROOD_INT8_ARRAY,          /**< Int8Array */
    BROOD_UINT8_ARRAY,         /**< Uint8Array */
    BROOD_UINT8_CLAMPED_ARRAY, /**< Uint8ClampedArray */
    BROOD_INT16_ARRAY,         /**< Int16Array */
    BROOD_UINT16_ARRAY,        /**< Uint16Array */
    BROOD_INT32_ARRAY,         /**< Int32Array */
    BROOD_UINT32_ARRAY,        /**< Uint32Array */
    BROOD_FLOAT32_ARRAY,       /**< Float32Array */
    BROOD_FLOAT64_ARRAY,       /**< Float64Array */
    BROOD_DATA_VIEW,           /**< DataView */
    BROOD_BUFFER,              /**< Node's Buffer */
    BROOD_BIGINT64_ARRAY,      /**< BigInt64Array */
    BROOD_BIGUINT64_ARRAY,     /**< BigUint64Array */
    BROOD_FLOAT16_ARRAY        /**< Float16Array; Node 20 cannot read it */
} brood_view;

/**
 * A value: 16 bytes, handed around by value, and nothing to give back. It is valid as long as what it came from: in a
 * callback until that returns, of brood_value_take and brood_value_parse until brood_value_done. All-zero is
 * BROOD_MISSING, whose members are missing too, so look-ups chain and only the end is checked:
 *
 *     r = brood_value_int64(brood_value_get(brood_value_get(message, "job"), "width"), &width);
 */
typedef struct brood_value {
    struct brood__document *document; /**< brood's */
    uint32_t node;                    /**< brood's */
} brood_value;

/** Its type. A boxed one (`new Number(5)`) has the type of what is in the box. */
BROOD_API brood_type brood_value_type(brood_value value);

/** The word for a type, as in messages: "array". Static. Any thread. */
BROOD_API const char *brood_type_text(brood_type type);

/** The length of an array, the size of a map or a set, the number of an object's members; 0 for all else. */
BROOD_API size_t brood_value_count(brood_value value);

/**
 * The member with that name: of an object, a map (with a string for a key), an array, a regular expression, an error.
 * BROOD_MISSING if there is none. In search order it begins behind the member found last: whoever asks in the order
 * of the message finds each at once.
 */
BROOD_API brood_value brood_value_get(brood_value value, const char *key);

/**
 * The element, member or entry number `index`, in the order of the message; BROOD_MISSING if there are not so many.
 * One after another costs the same for each, as do all elements of an array that holds no containers. Behind the
 * elements of an array come its members with a name.
 *
 * ret_key   may be NULL; a string, for a map whatever it is, for an element BROOD_MISSING
 */
BROOD_API brood_value brood_value_at(brood_value value, size_t index, brood_value *ret_key);

/** @name What a value holds
 * Each returns 0, -ENOENT (missing), -EPROTOTYPE (of another type), or as said; `ret_` is written only then.
 * @{
 */
/** A number, a bigint, or a date's milliseconds. -ERANGE: not whole, or not within the type. */
BROOD_API int brood_value_int64(brood_value value, int64_t *ret_number);
/** @copydoc brood_value_int64 */
BROOD_API int brood_value_uint64(brood_value value, uint64_t *ret_number);
/** A number, or a date's milliseconds. */
BROOD_API int brood_value_double(brood_value value, double *ret_number);
/** A bool. */
BROOD_API int brood_value_bool(brood_value value, bool *ret_bool);
/**
 * A string as UTF-8; halves of surrogate pairs, which JavaScript allows alone, come as three bytes each (WTF-8). A NUL
 * byte follows the last one.
 *
 * ret_len   NULL: then -EILSEQ if the string holds a NUL byte
 */
BROOD_API int brood_value_string(brood_value value, const char **ret_text, size_t *ret_len);
/** Bytes; not aligned for anything: read them by memcpy(3). */
BROOD_API int brood_value_bytes(brood_value value, const void **ret_bytes, size_t *ret_len);
/**
 * A bigint of any size: up to `max_words` 64-bit words of its magnitude, the lowest first. Returns how many words it
 * has, 0 for zero.
 *
 * ret_negative   may be NULL
 * ret_words      may be NULL if `max_words` is 0
 */
BROOD_API int brood_value_bigint(brood_value value, bool *ret_negative, uint64_t *ret_words, size_t max_words);
/** @} */

/** What kind of bytes; BROOD_ARRAY_BUFFER for all that has another type. */
BROOD_API brood_view brood_value_view(brood_value value);

/** Whether it is an object around a bool, a number, a bigint or a string: `new Number(5)`. */
BROOD_API bool brood_value_is_boxed(brood_value value);

/** Whether both are the same place in the same message, as the members of a cycle may be. */
BROOD_API bool brood_value_is_same(brood_value a, brood_value b);

/**
 * A copy that stays until brood_value_done, with all that is in it.
 *
 * Returns 0, -ENOENT (missing), or -ENOMEM.
 */
BROOD_API int brood_value_take(brood_value value, brood_value *ret_copy);

/** Give back what brood_value_take or brood_value_parse made. The value is BROOD_MISSING then; harmless on such. */
BROOD_API void brood_value_done(brood_value *value);

/**
 * Read JSON, as JSON.parse does: what it accepts, its numbers, the last of members with one name. At most 1000 levels
 * deep.
 *
 * text     copied
 * len      or BROOD_NUL
 * ret_at   may be NULL; on -EILSEQ the offset of the first byte that cannot be
 *
 * Returns 0, -EILSEQ (not JSON), -E2BIG (deeper), or -ENOMEM.
 */
BROOD_API int brood_value_parse(const char *text, size_t len, brood_value *ret_value, size_t *ret_at);

/**
 * Write a value as JSON, as JSON.stringify does: undefined members are left out, dates are strings, maps are `{}`.
 *
 * buffer   may be NULL if `size` is 0; ends in a NUL byte, cut where it is too small, as snprintf(3)
 *
 * Returns the length of the whole, without the NUL; or -EINVAL (missing or undefined), -EPROTOTYPE (a bigint), -ELOOP
 * (a value that holds itself), -EMSGSIZE (2 GiB and more), or -ENOMEM.
 */
BROOD_API ssize_t brood_value_json(brood_value value, char *buffer, size_t size);

/**
 * Memory to build large bytes in that are sent: a memfd, which the other end maps (memfd_create(2)). To fill a new one
 * costs as much as a copy would, so that it pays to use it again. Any thread.
 */
typedef struct brood_buffer brood_buffer;

/**
 * A buffer of that many bytes, all zero.
 *
 * ret_buffer   yours until brood_buffer_done
 *
 * Returns 0, -EINVAL (0 bytes), -EMSGSIZE (2 GiB and more), or -ENOMEM.
 */
BROOD_API int brood_buffer_new(size_t size, brood_buffer **ret_buffer);

/** Its bytes, to be written to; at the beginning of a page. */
BROOD_API void *brood_buffer_bytes(const brood_buffer *buffer);

/** How many. */
BROOD_API size_t brood_buffer_size(const brood_buffer *buffer);

/** Give it back: at once, whoever has mapped it keeps it. NULL is harmless. */
BROOD_API void brood_buffer_done(brood_buffer *buffer);

/** Makes one value, in the format of the channel it is for. brood's, lent to a callback. */
typedef struct brood_writer brood_writer;

/** @name Writing
 * The same calls for both formats. Errors stick: nothing needs to be checked before the end, where whoever lent the
 * writer returns the first one. -EINVAL: out of place (a key in an array, an end too many); -EILSEQ: a text that is no
 * UTF-8 (WTF-8 is); -EPROTOTYPE: JSON has no such type; -ERANGE: no number of JavaScript is exactly that;
 * -EEXIST: a name twice in one object; -E2BIG: too deep; -EMSGSIZE: too large; -ENOMEM.
 * @{
 */
BROOD_API void brood_writer_object(brood_writer *writer); /**< until brood_writer_end: key, value, key, value */
BROOD_API void brood_writer_array(brood_writer *writer);  /**< until brood_writer_end: its elements */
BROOD_API void brood_writer_map(brood_writer *writer);    /**< until brood_writer_end: key, value; keys by any call */
BROOD_API void brood_writer_set(brood_writer *writer);    /**< until brood_writer_end: its elements */
BROOD_API void brood_writer_end(brood_writer *writer);    /**< of the container opened last */
/** The name of an object's next member; NUL-terminated, copied. */
BROOD_API void brood_writer_key(brood_writer *writer, const char *name);
/** UTF-8 of that length, or BROOD_NUL; copied. */
BROOD_API void brood_writer_string(brood_writer *writer, const char *text, size_t len);
BROOD_API void brood_writer_int64(brood_writer *writer, int64_t number); /**< a number; beyond 2^53 maybe -ERANGE */
BROOD_API void brood_writer_double(brood_writer *writer, double number); /**< JSON: null for what is not finite */
BROOD_API void brood_writer_bool(brood_writer *writer, bool yes);        /**< true or false */
BROOD_API void brood_writer_null(brood_writer *writer);                  /**< null */
/** undefined. JSON: a member is left out, an element is null. */
BROOD_API void brood_writer_undefined(brood_writer *writer);
/**
 * A Buffer; copied. JSON: `{"type":"Buffer","data":[...]}`, as Node has it. From 16 MiB on and between two ends of
 * brood's, on a BROOD_ADVANCED channel, the copy is in memory that the other end maps.
 */
BROOD_API void brood_writer_bytes(brood_writer *writer, const void *bytes, size_t len);
/** A typed array or an ArrayBuffer; `len` in bytes; copied. */
BROOD_API void brood_writer_view(brood_writer *writer, brood_view view, const void *bytes, size_t len);
/** A bigint: words of its magnitude, the lowest first. */
BROOD_API void brood_writer_bigint(brood_writer *writer, bool negative, const uint64_t *words, size_t count);
/** A date, in milliseconds since 1970; NaN is an invalid one. JSON: a string, as toISOString; null if invalid. */
BROOD_API void brood_writer_date(brood_writer *writer, double ms);
/** A regular expression; both NUL-terminated; flags out of "dgimsuvy". JSON: `{}`. */
BROOD_API void brood_writer_regexp(brood_writer *writer, const char *source, const char *flags);
/** An error; name "TypeError" and its like, all others are "Error"; message may be NULL. JSON: `{}`. */
BROOD_API void brood_writer_error(brood_writer *writer, const char *name, const char *message);
/** A copy of a value, of whatever format. JSON: what JSON.stringify makes of it; -ELOOP if it holds itself. */
BROOD_API void brood_writer_value(brood_writer *writer, brood_value value);
/** JSON text, checked; `len` or BROOD_NUL. -EILSEQ if it is none. */
BROOD_API void brood_writer_json(brood_writer *writer, const char *text, size_t len);
/**
 * The first `len` bytes of a buffer, as a Buffer. Between two ends of brood's, on a BROOD_ADVANCED channel, they are
 * not copied from 1 MiB on: the other end maps the same memory, and reads what is in it then, so leave it alone until
 * that end has said that it is done. Elsewhere, as brood_writer_bytes. The buffer may be given back at once.
 */
BROOD_API void brood_writer_buffer(brood_writer *writer, const brood_buffer *buffer, size_t len);
/** The error that sticks, or 0. */
BROOD_API int brood_writer_status(const brood_writer *writer);
/** @} */

#ifdef __cplusplus
}
#endif
#endif
