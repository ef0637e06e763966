/** Every bound of the API proxy, with its reason. */

/** Bytes of one request or response head. The engine's own limit is 1 MiB (Go's net/http); registry credentials need a few KiB. */
export const HEAD_BYTES = 64 * 1024
/** Header fields of one head. */
export const HEAD_FIELDS = 1000
/** Empty lines tolerated before a request line (RFC 9112 2.2 asks for at least one). */
export const LEADING_EMPTY_LINES = 4
/** Bytes of a chunk's size line, extensions included: none of Docker's clients sends any. */
export const CHUNK_LINE_BYTES = 256
/** Bytes of a chunked body's trailer section. */
export const TRAILER_BYTES = 16 * 1024
