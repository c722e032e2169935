/* Reading JSON (RFC 8259), as JSON.parse does. */
#ifndef BROOD_VALUE_JSON_H
#define BROOD_VALUE_JSON_H

#include "value/document.h"

#define BROOD__JSON_SLACK 16 /* bytes behind a text that can be read; the first of them is overwritten */

/*
 * Read a text into an empty document. The text is changed, and keeps what the document's strings point to. Bytes that
 * are no UTF-8 read as U+FFFD.
 *
 * Returns 0, -EILSEQ (at *ret_at is what cannot be), -E2BIG (deeper than that, or more nodes than the document may
 * have), or -ENOMEM.
 */
int brood__json_read(brood__document *document, char *text, size_t len, uint32_t max_depth, size_t *ret_at);

/*
 * Whether a text is JSON that may be sent: one value, in UTF-8 throughout. Line feeds between its parts become blanks.
 * Slack, and returns, as above.
 */
int brood__json_check(char *text, size_t len, uint32_t max_depth, size_t *ret_at);

#endif
